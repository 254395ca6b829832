"""Looking at files: what they are, and that no damage to one ever becomes more than a clean fault."""

from __future__ import annotations

import io
import random
import struct
import tempfile
import time
import zlib
from typing import Any, BinaryIO

import pytest
from PIL import Image

from socialsync_gateway.media.faults import BrokenMedia, UnsupportedMedia
from socialsync_gateway.media.probe import PIXELS_AT_MOST, Probed, probe

UPRIGHT = (1, 0, 0, 1)
QUARTER_TURN = (0, 1, -1, 0)


def picture(form: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    noise = random.Random(1).randbytes(size[0] * size[1] * len(Image.new(mode, (1, 1)).getbands()))
    file = io.BytesIO()
    Image.frombytes(mode, size, noise).save(file, form, **options)
    return file.getvalue()


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def mvhd(seconds: float = 12.5, version: int = 0) -> bytes:
    times = struct.pack(">IIII", 0, 0, 1000, int(seconds * 1000))
    if version == 1:
        times = struct.pack(">QQIQ", 0, 0, 1000, int(seconds * 1000))
    return box(b"mvhd", bytes([version, 0, 0, 0]), times, bytes(80))


def trak(
    width: int = 720,
    height: int = 1280,
    turn: tuple[int, ...] = UPRIGHT,
    handler: bytes = b"vide",
    version: int = 0,
) -> bytes:
    a, b, c, d = (one << 16 for one in turn)
    tkhd = box(
        b"tkhd",
        bytes([version, 0, 0, 0]),
        bytes(48 if version else 36),
        struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30),
        struct.pack(">II", width << 16, height << 16),
    )
    return box(b"trak", tkhd, box(b"mdia", box(b"hdlr", bytes(8), handler, bytes(12))))


def movie(
    *tracks: bytes,
    brand: bytes = b"isom",
    head: bytes | None = None,
    moov_last: bool = True,
    media: int = 500,
) -> bytes:
    moov = box(b"moov", mvhd() if head is None else head, *(tracks or (trak(0, 0, handler=b"soun"), trak())))
    mdat = box(b"mdat", bytes(media))
    ftyp = box(b"ftyp", brand, bytes(4), b"isom")
    return ftyp + (mdat + moov if moov_last else moov + mdat)


def look(content: bytes) -> Probed:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return probe(file)


def test_pictures() -> None:
    assert look(picture()) == Probed("image", "image/jpeg", 64, 48)
    assert look(picture(progressive=True)) == Probed("image", "image/jpeg", 64, 48)
    assert look(picture(mode="L")) == Probed("image", "image/jpeg", 64, 48)
    assert look(picture(mode="CMYK")) == Probed("image", "image/jpeg", 64, 48)
    assert look(picture(size=(1, 1))) == Probed("image", "image/jpeg", 1, 1)
    assert look(picture("PNG", mode="RGBA")) == Probed("image", "image/png", 64, 48)


@pytest.mark.parametrize(
    ("orientation", "size"), [(1, (64, 48)), (3, (64, 48)), (6, (48, 64)), (8, (48, 64))]
)
def test_a_turned_picture_has_the_size_it_is_shown_with(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = look(picture(exif=exif))
    assert (found.width, found.height) == size


def test_damaged_notes_do_not_make_a_picture_bad() -> None:
    assert look(picture(exif=b"Exif\0\0nonsense")).width == 64


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("moov_last", [True, False])
def test_videos(version: int, moov_last: bool) -> None:
    content = movie(trak(version=version), head=mvhd(version=version), moov_last=moov_last)
    assert look(content) == Probed("video", "video/mp4", 720, 1280, 12.5)


def test_quicktime_and_rotation() -> None:
    content = movie(trak(1920, 1080, QUARTER_TURN), brand=b"qt  ")
    assert look(content) == Probed("video", "video/quicktime", 1080, 1920, 12.5)


def test_sizes_of_boxes_may_be_long_or_open() -> None:
    moov = box(b"moov", mvhd(), trak())
    long_mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + 100) + bytes(100)
    open_mdat = struct.pack(">I4s", 0, b"mdat") + bytes(100)
    ftyp = box(b"ftyp", b"isom", bytes(4))
    assert look(ftyp + long_mdat + moov).kind == "video"
    assert look(ftyp + moov + open_mdat).kind == "video"
    assert look(ftyp + moov + long_mdat + b"\0\0\0").kind == "video"  # padding


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a kind of file"),
        (b"%PDF-1.7 and more", "not a kind of file"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"RIFF\0\0\0\0WAVEfmt ", "RIFF"),
        (box(b"ftyp", b"heic", bytes(4)), "HEIC"),
        (box(b"ftyp", b"avif", bytes(4)), "AVIF"),
        (b"\x1aE\xdf\xa3" + bytes(20), "WebM"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a kind of file"),
    ],
)
def test_other_files_are_named(content: bytes, says: str) -> None:
    with pytest.raises(UnsupportedMedia, match=says):
        look(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (picture()[:-200], "broken image"),
        (picture("PNG")[:-200], "broken image"),
        (picture()[:12], "broken image"),
        (movie()[:-10], "cut off"),
        (movie(moov_last=False)[:-10], "cut off"),
        (box(b"ftyp", b"isom", bytes(4)) + box(b"mdat", bytes(9)), "not complete"),
        (box(b"ftyp", b"isom", bytes(4)) + box(b"moov", mvhd(), trak()), "not complete"),
        (box(b"ftyp", b"isom", bytes(4)) + box(b"moov", mvhd()) + box(b"mdat"), "no picture track"),
        (movie(trak(handler=b"soun")), "no picture track"),
        (movie(head=b""), "no mvhd"),
        (movie(head=mvhd(0)), "duration"),
        (movie(head=mvhd(100_000)), "duration"),
        (movie(head=box(b"mvhd", bytes(12), struct.pack(">II", 1000, 0xFFFFFFFF))), "duration"),
        (movie(head=box(b"mvhd", bytes(12), struct.pack(">II", 0, 5))), "duration"),
        (movie(head=box(b"mvhd", bytes(6))), "too short"),
        (movie(head=box(b"mvhd", b"\x09", bytes(99))), "no known version"),
        (movie(trak(0, 0)), "proper size"),
        (movie(trak(65_000, 5)), "proper size"),
        (box(b"ftyp", b"isom", bytes(4)) + struct.pack(">I4s", 4, b"mdat"), "smaller than its header"),
        (box(b"ftyp", b"isom", bytes(4)) + struct.pack(">I4s", 1, b"mdat"), "cut off"),
        (box(b"ftyp", b"isom", bytes(4)) + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1), "cut off"),
        (movie() + box(b"free") * 20_000, "too many boxes"),
    ],
)
def test_broken_files_say_so(content: bytes, says: str) -> None:
    with pytest.raises(BrokenMedia, match=says):
        look(content)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_300, 10_000, 60_000])
def test_more_pixels_than_memory_are_refused_unread(side: int) -> None:
    assert side * side > PIXELS_AT_MOST
    started = time.monotonic()
    with pytest.raises(BrokenMedia, match="52 megapixels"):
        look(png(side, side, zlib.compress(bytes(100))))
    assert time.monotonic() - started < 1


def test_a_jpeg_of_very_many_scans_is_refused_unread() -> None:
    content = picture(progressive=True)
    scan = content.index(b"\xff\xda")
    with pytest.raises(BrokenMedia, match="64 scans"):
        look(content[:scan] + content[scan:-2] * 64 + content[-2:])


def whole_or_fault(content: bytes) -> None:
    try:
        found = look(content)
    except (BrokenMedia, UnsupportedMedia):
        return
    assert found.width * found.height > 0
    assert found.kind == "image" or 0 < (found.duration_seconds or 0) <= 86_400


SAMPLES = {
    "jpeg": picture(),
    "progressive": picture(progressive=True),
    "png": picture("PNG", mode="RGBA"),
    "mp4": movie(),
    "mov": movie(brand=b"qt  ", moov_last=False),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_cut_anywhere(sample: str) -> None:
    content = SAMPLES[sample]
    started = time.monotonic()
    for length in range(0, len(content), max(1, len(content) // 400)):
        whole_or_fault(content[:length])
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("sample", SAMPLES)
def test_flipped_anywhere(sample: str) -> None:
    chance = random.Random(7)
    content = SAMPLES[sample]
    started = time.monotonic()
    for _ in range(400):
        changed = bytearray(content)
        # headers are where it hurts
        end = len(changed) if chance.random() < 0.5 else min(300, len(changed))
        for _ in range(chance.choice([1, 1, 3, 20])):
            changed[chance.randrange(end)] = chance.randrange(256)
        whole_or_fault(bytes(changed))
    assert time.monotonic() - started < 20


def test_boxes_of_any_size_and_nesting() -> None:
    chance = random.Random(3)
    kinds = [b"moov", b"trak", b"mdia", b"mvhd", b"tkhd", b"hdlr", b"mdat", b"free"]

    def nonsense(depth: int) -> bytes:
        if depth == 0 or chance.random() < 0.3:
            return chance.randbytes(chance.randrange(120))
        made = box(chance.choice(kinds), *(nonsense(depth - 1) for _ in range(chance.randrange(4))))
        if chance.random() < 0.1:
            made = struct.pack(">I", chance.choice([0, 1, 7, 9, 2**31, 2**32 - 1])) + made[4:]
        return made

    for _ in range(1000):
        whole_or_fault(
            box(b"ftyp", b"isom", bytes(4)) + b"".join(nonsense(5) for _ in range(chance.randrange(6)))
        )


def test_the_whole_file_is_looked_at_from_its_beginning() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(picture())
        file.flush()
        handle: BinaryIO = file  # type: ignore[assignment]
        assert probe(handle) == probe(handle)
