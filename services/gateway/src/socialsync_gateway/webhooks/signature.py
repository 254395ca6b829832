"""Meta signs the raw body: ``X-Hub-Signature-256: sha256=<hex HMAC-SHA256>``."""

from __future__ import annotations

import hmac
from collections.abc import Iterable


def is_signed(body: bytes, header: str | None, secrets: Iterable[bytes]) -> bool:
    """Whether ``header`` signs ``body`` with one of the app secrets; constant in time, on bytes.

    A header may hold any characters; comparing it as text would raise on those outside ASCII.
    """
    if not header:
        return False
    given = header.encode("utf-8", "surrogateescape")
    matches = False
    for secret in secrets:
        expected = b"sha256=" + hmac.digest(secret, body, "sha256").hex().encode()
        matches |= hmac.compare_digest(expected, given)
    return matches
