"""Pictures of posts that nobody uploaded: small JPEGs, a different one for each place. Pure.

A baseline JPEG of blocks that have one colour each, so that a block is the difference from the block before it.
"""

from __future__ import annotations

import struct
from functools import lru_cache

_BLOCKS = 12  # in each direction, of 8 by 8 pixels
_COMPONENTS = 3
# the size of a difference in bits is written as a code of four, the end of a block as one bit
_SIZES = bytes(range(12))
_END_OF_BLOCK = "0"


@lru_cache(maxsize=64)
def jpeg(number: int) -> bytes:
    """A mosaic whose colours depend on ``number``."""
    side = _BLOCKS * 8
    components = b"".join(bytes((component, 0x11, 0)) for component in range(1, _COMPONENTS + 1))
    scan = b"".join(bytes((component, 0)) for component in range(1, _COMPONENTS + 1))
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xDB, b"\0" + bytes([8] * 64)),
            _segment(0xC0, struct.pack(">BHHB", 8, side, side, _COMPONENTS) + components),
            _segment(0xC4, b"\0" + bytes([0, 0, 0, len(_SIZES)] + [0] * 12) + _SIZES),
            _segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
            _segment(0xDA, bytes([_COMPONENTS]) + scan + b"\0\x3f\0"),
            _blocks(number),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _blocks(number: int) -> bytes:
    bits = []
    latest = [0] * _COMPONENTS
    for y in range(_BLOCKS):
        for x in range(_BLOCKS):
            for component, value in enumerate(_colour(number, x, y)):
                bits.append(_difference(value - latest[component]) + _END_OF_BLOCK)
                latest[component] = value
    written = "".join(bits)
    written += "1" * (-len(written) % 8)
    raw = int(written, 2).to_bytes(len(written) // 8, "big")
    return raw.replace(b"\xff", b"\xff\0")


def _colour(number: int, x: int, y: int) -> tuple[int, int, int]:
    """Brightness and the two colour differences, each -128 to 127."""
    return (x + y) * 9 - 90, (number * 67 + x * 5) % 160 - 80, (number * 41 + y * 5) % 160 - 80


def _difference(value: int) -> str:
    """A negative one is written as the ones' complement of its amount."""
    size = abs(value).bit_length()
    amount = value if value >= 0 else value + (1 << size) - 1
    return f"{size:04b}" + (f"{amount:0{size}b}" if size else "")
