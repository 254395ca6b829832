"""Signed URLs of media: whoever holds one may fetch that file for a while, as Meta does when it publishes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import time
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from socialsync_common.crypto import TokenCipher
from socialsync_common.errors import ConfigError, PermanentError
from socialsync_common.settings import EncryptionSettings

EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "video/mp4": "mp4", "video/quicktime": "mov"}

_INFO = b"media-url"
_FIELDS = struct.Struct(">16s16sQ")  # tenant, media, expiry in Unix seconds
_MAC_BYTES = 32


class MediaUrlForged(PermanentError):
    """This URL was not given out here: use one as it was given out."""


class MediaUrlExpired(PermanentError):
    """This URL has expired: ask for a new one."""


class MediaUrls:
    """Signs with a key derived from the first of ``TOKEN_ENCRYPTION_KEYS``; accepts what any of them signed."""

    def __init__(self, base_url: str, encryption: EncryptionSettings) -> None:
        """``base_url``: where the internet reaches the gateway; empty where it does not: URLs can only be read.

        Raises:
            ConfigError: TOKEN_ENCRYPTION_KEYS is bad.
        """
        TokenCipher(encryption)  # says what is wrong with the keys
        self._base_url = base_url.rstrip("/")
        pairs = encryption.token_encryption_keys.get_secret_value().split(",")
        self._keys = [_derive(base64.b64decode(pair.strip().partition(":")[2])) for pair in pairs]

    def url(self, tenant_id: UUID, media_id: UUID, mime_type: str, valid_seconds: int = 86400) -> str:
        """Where a file can be fetched from now on, for ``valid_seconds``.

        Raises:
            ConfigError: there is no base URL.
            ValueError: no medium has this type.
        """
        if not self._base_url:
            raise ConfigError(
                "PUBLIC_URL is not set: set it to the address at which the internet reaches the gateway; "
                "Meta fetches pictures and videos there"
            )
        extension = EXTENSIONS.get(mime_type)
        if extension is None:
            raise ValueError(f"{mime_type} is no type of media")
        fields = _FIELDS.pack(tenant_id.bytes, media_id.bytes, int(time.time()) + valid_seconds)
        token = base64.urlsafe_b64encode(fields + _sign(self._keys[0], fields)).decode()
        return f"{self._base_url}/api/media/{token}.{extension}"

    def read(self, token: str, now: float) -> tuple[UUID, UUID]:
        """Tenant and medium of a token, at ``now`` (Unix seconds).

        Raises:
            MediaUrlForged: not signed here.
            MediaUrlExpired: signed here, but its time is over.
        """
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise MediaUrlForged from None
        fields, mac = raw[: _FIELDS.size], raw[_FIELDS.size :]
        if len(fields) != _FIELDS.size or len(mac) != _MAC_BYTES:
            raise MediaUrlForged
        # every key is tried, so that the time taken does not tell which one fits
        if not sum(hmac.compare_digest(_sign(key, fields), mac) for key in self._keys):
            raise MediaUrlForged
        tenant, media, expiry = _FIELDS.unpack(fields)
        if now >= expiry:
            raise MediaUrlExpired
        return UUID(bytes=tenant), UUID(bytes=media)


def _derive(key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(key)


def _sign(key: bytes, fields: bytes) -> bytes:
    return hmac.new(key, fields, hashlib.sha256).digest()
