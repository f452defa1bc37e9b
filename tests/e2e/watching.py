"""What the browser complains about: errors in the console, in scripts, and against the policy."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, WebError

MakeContext = Callable[..., BrowserContext]

_REPORT_VIOLATIONS = """addEventListener("securitypolicyviolation", event => console.error(
    `policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"""


# What browsers and htmx write to the console when a connection breaks.
BROKEN = ("net::", "NetworkError", "network error", "Failed to fetch", "htmx:", "Error in input stream")


class Complaints(list[str]):
    def __init__(self) -> None:
        self._allowed: tuple[str, ...] = ()

    def allow(self, *parts: str) -> None:
        """Messages with one of these parts belong to what the test does."""
        self._allowed += parts

    def watch(self, context: Any) -> None:
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", self._error)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._add(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _error(self, error: WebError) -> None:
        self._add(f"script: {error.error}")

    def _add(self, text: str) -> None:
        if not any(part in text for part in self._allowed):
            self.append(text)
