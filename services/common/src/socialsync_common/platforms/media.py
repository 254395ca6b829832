"""Pictures and voice notes of contacts: fetched from Meta's hosts only, bounded in size and time."""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from socialsync_common.contracts import Platform
from socialsync_common.errors import PermanentError, TransientError
from socialsync_common.platforms.graph import GraphClient

MAX_BYTES = 16 * 1024 * 1024
MAX_SECONDS = 20.0
_HOSTS = frozenset({"lookaside.fbsbx.com", "graph.facebook.com", "graph.instagram.com"})
_SUFFIXES = (".fbcdn.net", ".cdninstagram.com")
_TOKEN_HOSTS = frozenset({"lookaside.fbsbx.com", "graph.facebook.com", "graph.instagram.com"})


@dataclass(frozen=True, slots=True)
class Media:
    """A file as it came: its bytes and declared type."""

    content: bytes = field(repr=False)
    mime_type: str


def fetch_media(client: GraphClient, platform: Platform, token: str, attachment: dict[str, Any]) -> Media:
    """Fetch what an attachment (``id`` or ``url``, ``mime_type``) refers to.

    Raises:
        PermanentError: not on one of Meta's hosts, too large, or gone.
        TransientError: not reached in time.
    """
    try:
        url = _url(client, platform, token, attachment)
        return _download(client, token, url, str(attachment.get("mime_type") or "application/octet-stream"))
    except httpx.HTTPError as error:
        raise TransientError(f"media not fetched: {type(error).__name__}") from None


def _url(client: GraphClient, platform: Platform, token: str, attachment: dict[str, Any]) -> str:
    # WhatsApp's URLs live five minutes: ask for a fresh one
    if platform is Platform.WHATSAPP and attachment.get("id"):
        response = client.get(platform, str(attachment["id"]), token)
        body = response.json() if response.is_success else {}
        url = body.get("url") if isinstance(body, dict) else None
    else:
        url = attachment.get("url")
    if not isinstance(url, str) or not url:
        raise PermanentError("media: Meta gives no address for it")
    return url


def _download(client: GraphClient, token: str, url: str, mime_type: str) -> Media:
    address, host = _checked(url, client.stand_in_url)
    headers = {"Host": host}
    if host.split(":")[0] in _TOKEN_HOSTS or address == url:
        headers["Authorization"] = f"Bearer {token}"
    deadline = time.monotonic() + MAX_SECONDS
    chunks, size = [], 0
    extensions = {"sni_hostname": urlsplit(url).hostname} if address != url else {}
    with client.http.stream(
        "GET", address, headers=headers, extensions=extensions, timeout=MAX_SECONDS
    ) as response:
        if response.status_code != 200:
            raise PermanentError(f"media: its host answered {response.status_code}")
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > MAX_BYTES:
                raise PermanentError(f"media: larger than {MAX_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TransientError(f"media: not complete within {MAX_SECONDS:.0f} s")
            chunks.append(chunk)
        declared = response.headers.get("content-type", mime_type).split(";")[0].strip()
    return Media(b"".join(chunks), declared)


def _checked(url: str, stand_in: str | None) -> tuple[str, str]:
    """The address to connect to, and its Host header. The name is resolved once, so it cannot change in between."""
    parts = urlsplit(url)
    if stand_in and url.startswith(f"{stand_in}/"):
        return url, parts.netloc
    host = parts.hostname or ""
    allowed = host in _HOSTS or host.endswith(_SUFFIXES)
    if parts.scheme != "https" or not allowed or parts.username or parts.port not in (None, 443):
        raise PermanentError(f"media: {host or 'no host'} is not one of Meta's hosts")
    try:
        resolved = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except socket.gaierror:
        raise TransientError(f"media: {host} does not resolve") from None
    for *_, (ip, *_rest) in resolved:
        if not ipaddress.ip_address(ip).is_global:
            raise PermanentError(f"media: {host} resolves to an address that is not public")
    ip = str(resolved[0][4][0])
    pinned = f"[{ip}]" if ":" in ip else ip
    return parts._replace(netloc=pinned).geturl(), host
