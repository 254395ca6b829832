"""What an MP4 or MOV file says about itself: a small reader of its boxes, bounded whatever they claim."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from socialsync_gateway.media.faults import BrokenMedia

_BOXES_AT_MOST = 10_000
_PIXELS_AT_MOST = 16_384  # of a side
_SECONDS_AT_MOST = 86_400.0
_HEADER = struct.Struct(">I4s")
_LONG_SIZE = struct.Struct(">Q")
_UNKNOWN = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
# where fields begin, by the version of their box: times are twice as long in version 1
_TIMESCALE = {0: 12, 1: 20}
_DURATION = {0: struct.Struct(">I"), 1: _LONG_SIZE}
_MATRIX = {0: 40, 1: 52}


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int  # of its content
    end: int


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self._left = _BOXES_AT_MOST

    def children(self, start: int, end: int) -> Iterator[_Box]:
        while end - start >= _HEADER.size:  # a shorter rest is padding
            self._left -= 1
            if self._left < 0:
                raise BrokenMedia("broken video: it is made of too many boxes: export it again")
            size, kind = _HEADER.unpack(self.read(start, _HEADER.size))
            header = _HEADER.size
            if size == 1:
                (size,) = _LONG_SIZE.unpack(self.read(start + header, _LONG_SIZE.size))
                header += _LONG_SIZE.size
            elif size == 0:  # to the end
                size = end - start
            if size < header:
                raise BrokenMedia("broken video: a box is smaller than its header")
            if size > end - start:
                raise BrokenMedia("broken video: it is cut off: upload the whole file")
            yield _Box(kind, start + header, start + size)
            start += size

    def find(self, parent: _Box, kind: bytes) -> _Box:
        for box in self.children(parent.start, parent.end):
            if box.kind == kind:
                return box
        raise BrokenMedia(f"broken video: it has no {kind.decode('ascii')} box")

    def field(self, box: _Box, offset: int, size: int) -> bytes:
        if box.start + offset + size > box.end:
            raise BrokenMedia(f"broken video: its {box.kind.decode('ascii', 'replace')} box is too short")
        return self.read(box.start + offset, size)

    def version(self, box: _Box) -> int:
        version = self.field(box, 0, 1)[0]
        if version not in _MATRIX:
            raise BrokenMedia(
                f"broken video: its {box.kind.decode('ascii', 'replace')} box is of no known version"
            )
        return version

    def read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        if len(content := self._file.read(size)) == size:
            return content
        raise BrokenMedia("broken video: it is cut off: upload the whole file")


def read_video(file: BinaryIO) -> tuple[int, int, float]:
    """Width and height as it is shown, and seconds. Raises BrokenMedia for what no player could show."""
    reader = _Reader(file)
    found: dict[bytes, _Box] = {}
    for box in reader.children(0, reader.size):  # to the end, which shows whether it is cut off
        found.setdefault(box.kind, box)
    if b"moov" not in found or b"mdat" not in found:
        raise BrokenMedia("broken video: it is not complete: record or export it again")
    return *_dimensions(reader, found[b"moov"]), _duration(reader, reader.find(found[b"moov"], b"mvhd"))


def _duration(reader: _Reader, mvhd: _Box) -> float:
    version = reader.version(mvhd)
    offset, field = _TIMESCALE[version], _DURATION[version]
    (scale,) = struct.unpack(">I", reader.field(mvhd, offset, 4))
    (duration,) = field.unpack(reader.field(mvhd, offset + 4, field.size))
    seconds = 0.0 if duration in _UNKNOWN or not scale else duration / scale
    if not 0 < seconds <= _SECONDS_AT_MOST:
        raise BrokenMedia(
            "broken video: it does not tell its duration: export it as a plain MP4, not in fragments"
        )
    return float(seconds)


def _dimensions(reader: _Reader, moov: _Box) -> tuple[int, int]:
    for track in reader.children(moov.start, moov.end):
        if track.kind != b"trak":
            continue
        handler = reader.find(reader.find(track, b"mdia"), b"hdlr")
        if reader.field(handler, 8, 4) != b"vide":
            continue
        tkhd = reader.find(track, b"tkhd")
        start = _MATRIX[reader.version(tkhd)]
        a, _, _, _, d = struct.unpack(">5i", reader.field(tkhd, start, 20))
        width, height = (side >> 16 for side in struct.unpack(">2I", reader.field(tkhd, start + 36, 8)))
        if not (0 < width <= _PIXELS_AT_MOST and 0 < height <= _PIXELS_AT_MOST):
            raise BrokenMedia("broken video: its picture has no proper size")
        return (height, width) if a == d == 0 else (width, height)  # a quarter turn
    raise BrokenMedia("broken video: it has no picture track")
