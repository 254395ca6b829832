"""Tokens at rest: AES-256-GCM with a key id, bound to tenant and account, so that a copied row opens nothing."""

from __future__ import annotations

import base64
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from socialsync_common.errors import ConfigError, PermanentError
from socialsync_common.settings import EncryptionSettings

_NONCE_BYTES = 12


class TokenCipher:
    """Encrypts with the first key; decrypts with whichever key the row names."""

    def __init__(self, settings: EncryptionSettings) -> None:
        self._keys = _parse(settings.token_encryption_keys.get_secret_value())
        self._current = next(iter(self._keys))

    def encrypt(self, token: str, tenant_id: UUID, account_id: UUID) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, token.encode(), tenant_id.bytes + account_id.bytes)
        return self._current.encode() + b":" + nonce + sealed

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key sealed it: what another one did is to be sealed again."""
        return sealed.partition(b":")[0] == self._current.encode()

    def decrypt(self, sealed: bytes, tenant_id: UUID, account_id: UUID) -> str:
        """Raises PermanentError where the key is gone, or the row was moved or altered."""
        key_id, _, rest = sealed.partition(b":")
        key = self._keys.get(key_id.decode("ascii", "replace"))
        if key is None:
            raise PermanentError(
                f"account {account_id}: its token's key is not in TOKEN_ENCRYPTION_KEYS: add the key, or reconnect the account"
            )
        try:
            return key.decrypt(
                rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], tenant_id.bytes + account_id.bytes
            ).decode()
        except (InvalidTag, ValueError):  # ValueError: cut off within the nonce
            raise PermanentError(
                f"account {account_id}: its token does not decrypt: reconnect the account"
            ) from None


def _parse(text: str) -> dict[str, AESGCM]:
    keys: dict[str, AESGCM] = {}
    for position, pair in enumerate(text.split(","), start=1):
        key_id, _, encoded = pair.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not key_id or not key_id.isascii() or len(key) != 32:
            raise ConfigError(
                f"TOKEN_ENCRYPTION_KEYS: entry {position} must read id:base64 of 32 bytes, the id in ASCII"
            )
        if key_id in keys:
            raise ConfigError(
                f"TOKEN_ENCRYPTION_KEYS: entry {position} repeats an id: a new key needs a new one"
            )
        keys[key_id] = AESGCM(key)
    return keys
