"""A person downloads a report: from its page, from the dataset's, and without scripts."""

from pathlib import Path

from playwright.sync_api import Download, Page, expect
from test_access import inspect
from test_look import context

__all__ = ["context", "inspect"]

RECORDINGS = 23_453


def _open(page: Page) -> None:
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.get_by_role("dialog", name="Download")).to_be_visible()
    expect(page.get_by_role("link", name="NDJSON")).to_be_visible()


def _whole(download: Download) -> bytes:
    assert download.failure() is None
    return Path(download.path()).read_bytes()
