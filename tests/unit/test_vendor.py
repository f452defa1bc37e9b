"""What came from others is what they published."""

import re
from hashlib import sha256

from app.settings import STATIC

VENDOR = STATIC / "vendor"
LISTED = dict(re.findall(r"^\| `([^`]+)` .* `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M))


def test_the_vendored_files_are_unchanged() -> None:
    assert LISTED
    assert {name: sha256((VENDOR / name).read_bytes()).hexdigest() for name in LISTED} == LISTED


def test_no_vendored_script_is_missing_from_the_list() -> None:
    kept = {path.name for path in VENDOR.iterdir()} - {"README.md"}
    assert {name for name in kept if not name.startswith("LICENSE-")} == set(LISTED)
    assert "LICENSE-htmx" in kept
