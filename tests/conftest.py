"""What the tests of more than one folder use."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_WITH_PROCESSES = {Path(__file__).parent / folder for folder in ("faults", "e2e")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _WITH_PROCESSES.isdisjoint(item.path.parents):
            # Processes, browsers and lines share one machine. The summary names each test that needed it.
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None:
        pytest.skip("a small file system can be mounted on Linux only")
    command = [mount, "-t", "tmpfs", "-o", "size=6m", "rowfall-test", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def fill() -> Callable[[Path], Path]:
    """Makes a file that takes all that is left of a disk."""
    return _fill


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0
    return filler
