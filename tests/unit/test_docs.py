"""What the documentation says is so."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
from litestar import Litestar

from app.cli import cli
from app.main import create_app, running
from app.settings import ROOT, Settings

DOCS = ROOT / "docs"
MARKDOWN = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *(p for d in ("docs", "bench", "static", ".ci") for p in (ROOT / d).rglob("*.md")),
    ]
    if "node_modules" not in path.parts
)


def rows(text: str) -> list[list[str]]:
    """The cells of all tables' lines."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line[:2] == "| "
    ]


# Settings


def test_every_setting_is_in_the_docs_with_its_default_and_nothing_else_is() -> None:
    found = {cells[0].strip("`"): cells[1] for cells in rows((DOCS / "settings.md").read_text())[1:]}
    expected = {name: f"`{_toml(field.default)}`" for name, field in Settings.model_fields.items()}
    assert found == expected


def _toml(default: Any) -> str:
    return f'"{default}"' if isinstance(default, str) else str(default)


def test_every_setting_is_described_as_the_code_describes_it() -> None:
    text = (DOCS / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        start = re.split(r"[.;:,]", field.description or "")[0]
        assert start in next(line for line in text.splitlines() if line.startswith(f"| `{name}`")), name


# Commands


def test_every_command_is_in_the_docs_with_its_arguments_and_nothing_else_is() -> None:
    expected = set()
    for name, command in cli.commands.items():
        arguments = [each.metavar for each in command.params if isinstance(each, click.Argument)]
        expected.add(" ".join(["rowfall", name, *(each or "" for each in arguments)]))
    found = {cells[0].strip("`") for cells in rows((DOCS / "commands.md").read_text())}
    assert {each for each in found if each.startswith("rowfall ")} == expected


def test_every_option_is_in_the_docs_and_nothing_else_is() -> None:
    text = (DOCS / "commands.md").read_text()
    options = {"--help"} | {
        name
        for command in (cli, *cli.commands.values())
        for each in command.params
        if isinstance(each, click.Option)
        for name in each.opts
        if name.startswith("--")
    }
    assert {"--host", "--config", "--version"} <= options
    assert set(re.findall(r"`(--[a-z]+)", text)) == options


def test_the_defaults_that_the_command_line_tells_are_those_of_the_settings() -> None:
    for name in ("host", "port", "state"):
        default = str(Settings.model_fields[name].default)
        for text in (_help("serve", name), _row("commands.md", f"--{name}")):
            assert f"({default})" in text, (name, text)


def _help(command: str, option: str) -> str:
    found = next(each for each in cli.commands[command].params if each.name == option)
    assert isinstance(found, click.Option)
    return found.help or ""


def _row(file: str, name: str) -> str:
    return next(cells[1] for cells in rows((DOCS / file).read_text()) if cells[0] == f"`{name}`")


# Addresses


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Litestar]:
    async with running(Settings(state=str(tmp_path / "state.db")), []) as parts:
        yield create_app(parts)


async def test_every_route_is_in_the_docs_and_nothing_else_is(app: Litestar) -> None:
    served = set()
    for route in app.routes:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path).replace("{dataset_path}", "{dataset}")
        methods = set(getattr(route, "methods", ())) - {"OPTIONS", "HEAD"}
        served |= {f"{method} {path}" for method in methods}
    served.discard("GET /schema/{path}")  # answers as /schema does
    found = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]*)`", (DOCS / "http.md").read_text()))
    assert found == served


async def test_the_fields_of_a_report_are_those_of_the_api(app: Litestar) -> None:
    schemas = app.openapi_schema.to_schema()["components"]["schemas"]
    fields = next(schema["properties"] for name, schema in schemas.items() if name.endswith("ReportView"))
    paragraph = (DOCS / "http.md").read_text().partition("\nA report: ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", paragraph))) == set(fields)


# Faults


def test_every_test_that_is_named_beside_a_fault_exists_and_each_of_those_tests_is_named() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "faults.md").read_text()))
    written = {
        place: {name for path in (ROOT / "tests" / place).glob("*.py") for name in _tests(path)}
        for place in ("faults", "unit", "e2e")
    }
    assert named - set().union(*written.values()) == set()
    of_the_checker = set(_tests(ROOT / "tests" / "faults" / "test_checker.py"))
    assert written["faults"] - of_the_checker - named == set()


def _tests(path: Path) -> list[str]:
    return re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)


# All files


def test_the_readme_gives_the_command_that_runs_all_tests() -> None:
    assert ".ci/setup && .venv/bin/pytest" in (ROOT / "README.md").read_text()
    assert ".ci/setup && .venv/bin/pytest" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_to_a_missing_file(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    missing = [
        link
        for link in links
        if not re.match(r"[a-z]+:|#", link) and not (path.parent / unquote(link.partition("#")[0])).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_named_in_the_text_is_missing(path: Path) -> None:
    named = re.findall(r"`((?:app|docs|tests|static|templates|bench)/[\w./-]*)`", path.read_text())
    assert [each for each in named if not (ROOT / each).exists()] == []
