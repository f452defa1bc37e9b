"""Not written yet."""

from collections.abc import Sequence
from pathlib import Path

from app.exports.manifest import Manifest
from app.exports.writing import Chunks, Options
from app.model import Column


def values(_options: Options) -> dict[str, str]:
    return {}


class Writer:
    passes = 1

    def __init__(self, columns: Sequence[Column], _options: Options) -> None:
        self._columns = columns

    def write(self, path: Path, chunks: Chunks, about: Manifest) -> Manifest:
        raise NotImplementedError
