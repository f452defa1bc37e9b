"""The rules of the house that a machine can hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import ROOT

MODULES = sorted((ROOT / "app").rglob("*.py"))
VAGUE = {"utils.py", "util.py", "helpers.py", "common.py", "base.py", "misc.py"}


def test_a_file_imports_only_from_floors_below_its_own() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 kept, 0 broken" in found.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_so_are_its_functions(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > 60} == {}


SCRIPTS = sorted((ROOT / "static").glob("*.js"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stays_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 110


def test_the_scripts_of_the_pages_make_no_markup() -> None:
    assert len(SCRIPTS) >= 4
    for path in SCRIPTS:
        for maker in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "createElement", "document.write"):
            assert maker not in path.read_text(), f"{path.name} uses {maker}"


def test_a_files_name_says_what_is_in_it() -> None:
    kept = [path for place in ("app", "tests", "bench") for path in (ROOT / place).rglob("*.py")]
    assert len(kept) > 40
    assert [path for path in kept if path.name in VAGUE] == []


def test_every_module_of_the_app_stands_in_the_floors_or_below_a_package_that_does() -> None:
    """A module that is named nowhere could import, and be imported, from any floor."""
    contract = (ROOT / "pyproject.toml").read_text().partition("[[tool.importlinter.contracts]]")[2]
    outside = {"__init__", "__main__", "migrations"}  # the package itself, its command, Alembic's scripts
    names = {path.relative_to(ROOT / "app").parts[0].removesuffix(".py") for path in MODULES} - outside
    assert {name for name in names if f"app.{name}" not in contract} == set()
