"""CSV, for programs (`data`) or for Excel (`excel`)."""

from collections.abc import Sequence

from app.exports.writing import Options, StreamWriter
from app.model import Column


def values(options: Options) -> dict[str, str]:
    return {}


def writer(columns: Sequence[Column], options: Options) -> StreamWriter:
    raise NotImplementedError
