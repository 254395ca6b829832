"""Files in buckets, in memory; the oldest go where there are too many."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_BYTES = 64 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class Object:
    id: str
    content: bytes
    mime_type: str


@dataclass(slots=True)
class Objects:
    """``by_path``: by ``bucket/path``, oldest first. ``keys``: what clients called with."""

    clock: Callable[[], float] = time.time
    buckets: set[str] = field(default_factory=set)
    by_path: dict[str, Object] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    size: int = 0
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def clear(self) -> None:
        self.buckets.clear()
        self.by_path.clear()
        self.keys.clear()
        self.size = 0

    def put(self, path: str, object_: Object) -> None:
        """At most ``MAX_BYTES`` long."""
        self.remove(path)
        while self.by_path and self.size + len(object_.content) > MAX_BYTES:
            self.remove(next(iter(self.by_path)))
        self.by_path[path] = object_
        self.size += len(object_.content)

    def remove(self, path: str) -> bool:
        gone = self.by_path.pop(path, None)
        if gone is None:
            return False
        self.size -= len(gone.content)
        return True

    def sign(self, path: str, seconds: float) -> str:
        """A token that opens this path for a while."""
        ends = f"{self.clock() + seconds:.3f}"
        mac = self._mac(path, ends)
        return base64.urlsafe_b64encode(f"{ends}:{mac}".encode()).decode().rstrip("=")

    def is_signed(self, path: str, token: str) -> bool:
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4)).decode()
        except (binascii.Error, UnicodeError):
            return False
        ends, _, mac = raw.partition(":")
        if not hmac.compare_digest(mac.encode(), self._mac(path, ends).encode()):
            return False
        return self.clock() < float(ends)

    def _mac(self, path: str, ends: str) -> str:
        return hmac.new(self._secret, f"{ends}:{path}".encode(), hashlib.sha256).hexdigest()
