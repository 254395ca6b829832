"""What a file is, by its content: never by its name or by what a client calls it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import BinaryIO, Literal

from PIL import Image

from socialsync_gateway.media.boxes import read_video
from socialsync_gateway.media.faults import BrokenMedia, UnsupportedMedia

Kind = Literal["image", "video"]

PIXELS_AT_MOST = 52_000_000  # decoding more would take more memory than a gateway has
_SCANS_AT_MOST = 64  # of a progressive JPEG: each one costs a pass over the whole picture
_ORIENTATION = 0x0112
_HEAD_BYTES = 16
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


@dataclass(frozen=True, slots=True)
class Probed:
    """A picture or video as it is shown."""

    kind: Kind
    mime_type: str
    width: int
    height: int
    duration_seconds: float | None = None


def probe(file: BinaryIO) -> Probed:
    """Look at a whole file, which has a descriptor; blocks for as long as decoding it takes.

    Raises:
        UnsupportedMedia: it is no JPEG, PNG, MP4 or MOV.
        BrokenMedia: it is one, but damaged, incomplete or too large to be shown.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        return _image(file, "JPEG", "image/jpeg")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _image(file, "PNG", "image/png")
    if head[4:8] == b"ftyp" and head[8:12] not in _HEIF_BRANDS | _AVIF_BRANDS:
        mime_type = "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
        return Probed("video", mime_type, *read_video(file))
    raise UnsupportedMedia(f"{_called(head)}: send a JPEG or PNG picture, or an MP4 or MOV video")


def _image(file: BinaryIO, form: str, mime_type: str) -> Probed:
    try:
        if form == "JPEG":
            _count_scans(file)
        file.seek(0)
        with Image.open(file, formats=[form]) as image:
            width, height = image.size
            if width * height > PIXELS_AT_MOST:
                raise BrokenMedia(_too_many_pixels())
            turned = _orientation(image) >= 5
            # an eighth of each side: the whole file is still read, with little memory
            image.draft(image.mode, (max(1, width // 8), max(1, height // 8)))
            image.load()
    except BrokenMedia:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BrokenMedia(_too_many_pixels()) from None
    except Exception as error:  # noqa: BLE001 - decoders meet damaged files with many kinds of error
        reason = str(error) or type(error).__name__
        raise BrokenMedia(f"broken image: {reason}: upload the whole file, or export it again") from None
    return Probed("image", mime_type, *((height, width) if turned else (width, height)))


def _count_scans(file: BinaryIO) -> None:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = scans = 0
        while (at := content.find(b"\xff\xda", at) + 1) > 0:
            scans += 1
            if scans > _SCANS_AT_MOST:
                raise BrokenMedia(f"broken image: more than {_SCANS_AT_MOST} scans: export it again")


def _orientation(image: Image.Image) -> int:
    """1 to 8; above 4, the sides are exchanged when it is shown."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a picture with damaged notes is still a picture
        return 1
    return value if isinstance(value, int) else 1


def _too_many_pixels() -> str:
    return f"broken image: more than {PIXELS_AT_MOST // 1_000_000} megapixels: make it smaller"


def _called(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return "this is an AVIF picture" if head[8:12] in _AVIF_BRANDS else "this is a HEIC picture"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "this is a GIF picture"
    if head.startswith(b"RIFF"):
        return "this is a WebP picture" if head[8:12] == b"WEBP" else "this is a RIFF file"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "this is a WebM or Matroska video"
    return "this is not a kind of file that can be posted"
