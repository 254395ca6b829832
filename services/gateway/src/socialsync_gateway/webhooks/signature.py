"""Meta signs the raw body: ``X-Hub-Signature-256: sha256=<hex HMAC-SHA256>``."""

from __future__ import annotations

import hmac
from collections.abc import Iterable


def is_signed(body: bytes, header: bytes | None, secrets: Iterable[bytes]) -> bool:
    """Whether ``header`` signs ``body`` with one of the app secrets; constant in time.

    Bytes on both sides: comparing text raises where the header holds anything but ASCII.
    """
    if not header:
        return False
    for secret in secrets:
        expected = b"sha256=" + hmac.digest(secret, body, "sha256").hex().encode()
        if hmac.compare_digest(expected, header):
            return True
    return False
