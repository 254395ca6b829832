"""What users send beside text: a tiny PNG and a tiny voice note, generated here."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Media:
    mime_type: str
    content: bytes

    @property
    def sha256_hex(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def sha256_base64(self) -> str:
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()


def _png(side: int = 16) -> bytes:
    """A square with a colour gradient."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    step = 255 // (side - 1)
    rows = b"".join(
        b"\x00" + b"".join(bytes((x * step, y * step, 128)) for x in range(side)) for y in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def _ogg(silent_frames: int = 10) -> bytes:
    """Opus in Ogg: two header pages and 20 ms frames of silence."""

    def page(number: int, flags: int, granule: int, packets: list[bytes]) -> bytes:
        head = b"OggS" + struct.pack("<BBqII", 0, flags, granule, 0x50C1A1, number)
        tail = bytes([len(packets), *map(len, packets)]) + b"".join(packets)
        return head + struct.pack("<I", _ogg_crc(head + bytes(4) + tail)) + tail

    vendor = b"sandbox"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
    return (
        page(0, 2, 0, [b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48000, 0, 0)])
        + page(1, 0, 0, [tags])
        + page(2, 4, 960 * silent_frames, [b"\xf8\xff\xfe"] * silent_frames)
    )


IMAGE = Media("image/png", _png())
VOICE = Media("audio/ogg; codecs=opus", _ogg())
