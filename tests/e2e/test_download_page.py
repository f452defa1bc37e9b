"""A person downloads a report: from its page, from the dataset's, and without scripts."""

import csv
import hashlib
import io
import re
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Download, Page, expect
from report_page import assert_same, generate, until, wait_for_first_rows, wait_for_status
from serving import Serve, Server
from tables import create, select
from test_access import Inspect, inspect
from test_look import LOOKS, context, look
from watching import Complaints, MakeContext

__all__ = ["context", "inspect"]

RECORDINGS = 23_453


def _open(page: Page) -> None:
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.get_by_role("dialog", name="Download")).to_be_visible()
    expect(page.get_by_role("link", name="NDJSON")).to_be_visible()


def _whole(download: Download) -> bytes:
    assert download.failure() is None
    return Path(download.path()).read_bytes()
