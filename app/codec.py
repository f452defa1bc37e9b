"""Rows <-> the bytes of a chunk: a MessagePack array of arrays, compressed by zstd level 1.

Why these: about 60 KB and 0.5 ms for 1,000 x 10 cells; JSON would lose infinity and bytes, Arrow and
Parquet were slower at this size. A chunk is encoded row by row, so that one row at a time is in memory
however large its cells are, and a batch can end early once its bytes reach a limit.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import zstandard

from app.model import CELL_LIMIT, Cell, Cut, Row, Undecodable

CODEC = "msgpack+zstd"  # stored with each chunk, so that another may come later

_CUT_TEXT, _CUT_BINARY, _UNDECODABLE = 1, 2, 3
_HEADER = 5  # bytes of a MessagePack "array 32" header: 0xdd and a count

_encoder = msgspec.msgpack.Encoder()


class ChunkEncoder:
    """Collects rows; `finish()` gives the payload. `size` is the bytes before compression."""

    def __init__(self) -> None:
        self._buffer = bytearray(_HEADER)
        self.rows = 0

    @property
    def size(self) -> int:
        return len(self._buffer)

    def add(self, row: Sequence[Cell]) -> int:
        """Appends a row of plain cells and gives the size after it.

        Text that is not UTF-8 comes with surrogate escapes.
        """
        buffer = self._buffer
        start = len(buffer)
        try:
            _encoder.encode_into(row, buffer, start)
        except UnicodeEncodeError:
            _encoder.encode_into([_mark(cell) for cell in row], buffer, start)
        else:
            # Only a row this large can hold a cell past the limit; all others skip the look at each cell.
            if len(buffer) - start > CELL_LIMIT:
                del buffer[start:]
                _encoder.encode_into([_mark(cell) for cell in row], buffer, start)
        self.rows += 1
        return len(buffer)

    def finish(self) -> bytes:
        self._buffer[0] = 0xDD
        self._buffer[1:_HEADER] = self.rows.to_bytes(4, "big")
        # A compressor each: zstandard's objects are not safe to share between threads.
        return zstandard.ZstdCompressor(level=1).compress(self._buffer)


def _mark(cell: Cell) -> Any:
    """A cell as MessagePack takes it: too long ones cut, undecodable ones as their bytes."""
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            return msgspec.msgpack.Ext(_UNDECODABLE, _raw(cell)[:CELL_LIMIT])
        if len(cell) > CELL_LIMIT:
            return msgspec.msgpack.Ext(_CUT_TEXT, cell[:CELL_LIMIT].encode())
        return cell
    if isinstance(cell, bytes) and len(cell) > CELL_LIMIT:
        return msgspec.msgpack.Ext(_CUT_BINARY, cell[:CELL_LIMIT])
    return cell


def _raw(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return text.encode("utf-8", "surrogatepass")


def decode(payload: bytes) -> list[Row]:
    """The rows of a payload, as tuples of cells."""
    return unpack(decompress(payload))


def decompress(payload: bytes) -> bytes:
    """The MessagePack of a payload. Each text in it is contiguous UTF-8, that of cut cells too."""
    data: bytes = zstandard.ZstdDecompressor().decompress(payload)
    return data


def unpack(data: bytes) -> list[Row]:
    """The rows of what `decompress` gave."""
    rows: list[Row] = _decoder.decode(data)
    return rows


def _unmark(code: int, data: memoryview) -> Cut | Undecodable:
    match code:
        case 1:
            return Cut(bytes(data).decode())
        case 2:
            return Cut(bytes(data))
        case 3:
            return Undecodable(bytes(data))
    raise ValueError(f"unknown cell mark {code}: this chunk was written by a newer version")


_decoder = msgspec.msgpack.Decoder(list[tuple[Any, ...]], ext_hook=_unmark)
