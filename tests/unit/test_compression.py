"""What a browser accepts, and that it can read each part of a compressed stream as soon as it was sent."""

import gzip
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator, Sequence

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from app.compression import Encoding, compressed, compressor, negotiated
from app.settings import ROOT
from app.sse import END, PING

ENCODINGS: tuple[Encoding, ...] = ("zstd", "gzip")
ROW = b"<tr><td>1</td><td>Morning rush</td><td>\xc3\xa9</td></tr>"
EVENT = b"id: 1.1\ndata: " + ROW * 100 + b"\n\n"


def decoder(encoding: Encoding) -> "zstandard.ZstdDecompressionObj | zlib._Decompress":
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj()
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


# Negotiation


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),  # what Chromium and Firefox say over TLS
        ("gzip, deflate", "gzip"),  # and over plain HTTP
        ("gzip, deflate, br", "gzip"),
        ("zstd", "zstd"),
        ("ZSTD", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0.5,zstd;q=1", "zstd"),
        ("gzip ; q=0.001", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *;q=0.1", "gzip"),
        ("identity, gzip", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
    ],
)
def test_the_browser_gets_what_it_likes_best(accept: str, encoding: str) -> None:
    assert negotiated(accept) == encoding


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        " , ",
        "identity",
        "br, deflate",
        "gzip;q=0",
        "gzip;q=0.000, zstd;q=0.0",
        "*;q=0",
        "gzip;q=0.5, identity",
        "gzip;q=0.5, identity;q=0.8",
        "gzip;q=junk",
        "gzip;q=",
        "gzip;q=-1",
        "gzip;q=nan",
        "gzip;q=7",
        "gzip;level=9",
        "gzipped, x-zstd",
    ],
)
def test_who_does_not_ask_for_compression_gets_none(accept: str | None) -> None:
    assert negotiated(accept) is None


@given(st.text())
def test_no_header_is_an_error(accept: str) -> None:
    assert negotiated(accept) in (None, *ENCODINGS)


# Compressing


async def given_parts(parts: Sequence[bytes]) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_each_event_can_be_read_as_soon_as_it_was_sent(encoding: Encoding) -> None:
    events = [EVENT, PING, EVENT * 20, b"data: x\n\n", PING, END]
    stream = compressed(given_parts(events), encoding)
    browser = decoder(encoding)
    for event in events:
        assert browser.decompress(await anext(stream)) == event
    assert browser.decompress(await anext(stream)) == b""
    assert browser.eof
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(parts=st.lists(st.binary(max_size=300) | st.text(min_size=1).map(lambda text: text.encode() * 500)))
def test_any_parts_come_out_whole_one_by_one(encoding: Encoding, parts: list[bytes]) -> None:
    stream, browser = compressor(encoding), decoder(encoding)
    for part in parts:
        assert browser.decompress(stream.part(part)) == part
    assert browser.decompress(stream.end()) == b""
    assert browser.eof


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_stream_may_be_closed_before_it_ends_and_closes_its_parts(encoding: Encoding) -> None:
    closed = []

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield EVENT
        finally:
            closed.append(True)

    for taken in range(3):
        stream = compressed(endless(), encoding)
        for _ in range(taken):
            await anext(stream)
        await stream.aclose()
    assert closed == [True, True]  # the first was never begun


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_are_a_fifth_of_their_size_at_most(encoding: Encoding) -> None:
    assert len(compressor(encoding).part(EVENT)) < len(EVENT) / 5


def test_a_viewers_compressor_looks_back_64_kib() -> None:
    header = compressor("zstd").part(EVENT)
    assert zstandard.get_frame_parameters(header).window_size == 64 * 1024


def test_where_isal_has_no_wheel_zlib_does_the_same() -> None:
    script = (
        "import sys; sys.modules['isal'] = None\n"
        "from app.compression import compressor, zlib\n"
        "one = compressor('gzip')\n"
        "sys.stdout.buffer.write(one.part(b'first ') + one.part(b'last') + one.end())\n"
        "assert zlib.__name__ == 'zlib'"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert gzip.decompress(done.stdout) == b"first last"
