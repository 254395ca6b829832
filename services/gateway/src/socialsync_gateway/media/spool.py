"""An upload on its way in: a temporary file without a name, which is gone when nobody has it open."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self, cast

from socialsync_common.fetching import IMAGE, VIDEO, TooLarge
from socialsync_gateway.media.faults import StorageAway, UploadTooSlow

_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What uploads may cost. A client must send ``bytes_per_second`` on average, and something every
    ``silent_seconds``."""

    image_bytes: int = IMAGE.max_bytes
    video_bytes: int = VIDEO.max_bytes
    seconds: float = 1200.0
    silent_seconds: float = 20.0
    bytes_per_second: float = 64 * 1024
    uploads: int = 8
    uploads_of_tenant: int = 4

    def max_bytes(self, mime_type: str) -> int:
        return self.video_bytes if mime_type.startswith("video/") else self.image_bytes


class Spool:
    """What has come in: the file, its size and its SHA-256."""

    def __init__(self) -> None:
        self.file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed with the spool
        self.size = 0
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> bytes:
        return self._sha256.digest()

    def write(self, data: bytes) -> None:
        """Blocks for as long as the disk takes. Raises StorageAway where it is full."""
        try:
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StorageAway("there is no room for uploads at the moment: try again later") from None
        self.size += len(data)
        self._sha256.update(data)

    async def fill(self, chunks: AsyncIterator[bytes], max_bytes: int, limits: UploadLimits) -> None:
        """Take an upload in.

        Raises:
            TooLarge, UploadTooSlow, StorageAway: it is given up.
        """
        clock = asyncio.get_running_loop().time
        started, received, piece = clock(), 0, bytearray()
        while True:
            earned = limits.silent_seconds + received / limits.bytes_per_second
            deadline = min(started + min(earned, limits.seconds), clock() + limits.silent_seconds)
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise UploadTooSlow from None
            if chunk is None:
                break
            received += len(chunk)
            check_size(received, max_bytes)
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                await asyncio.to_thread(self.write, bytes(piece))
                piece.clear()
        if piece:
            await asyncio.to_thread(self.write, bytes(piece))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


def check_size(size: int, max_bytes: int) -> None:
    """Raises TooLarge."""
    if size > max_bytes:
        raise TooLarge(f"The file is larger than {max_bytes >> 20} MB: make it smaller.")
