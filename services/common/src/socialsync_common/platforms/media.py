"""Pictures and voice notes of contacts: fetched from Meta's hosts only, bounded in size and time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from socialsync_common.contracts import Platform
from socialsync_common.errors import PermanentError, TransientError, UnknownOutcome
from socialsync_common.fetching import (
    REDIRECTS,
    REDIRECTS_AT_MOST,
    Target,
    origin,
    pin,
    public_addresses,
)
from socialsync_common.platforms.errors import classify
from socialsync_common.platforms.graph import GraphClient, bearer, read_json

MAX_BYTES = 16 * 1024 * 1024
MAX_SECONDS = 20.0
_SILENT_SECONDS_AT_MOST = 5.0

_HOSTS = frozenset({"lookaside.fbsbx.com", "graph.facebook.com", "graph.instagram.com"})
_SUFFIXES = (".fbcdn.net", ".cdninstagram.com")
# the URLs of Instagram and Messenger are signed: only WhatsApp's need the token
_TOKEN_HOSTS = frozenset({"lookaside.fbsbx.com", "graph.facebook.com"})
_MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_UNTYPED = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Media:
    """A file as it came: its bytes, and its declared type without parameters."""

    content: bytes = field(repr=False)
    mime_type: str


def fetch_media(client: GraphClient, platform: Platform, token: str, attachment: dict[str, Any]) -> Media:
    """Fetch what an attachment (``id`` or ``url``, and maybe ``mime_type``) refers to.

    Raises:
        PermanentError: not on one of Meta's hosts, too large, or gone; AuthenticationExpired among them.
        TransientError: not had in time, or its host has a fault.
    """
    deadline = time.monotonic() + MAX_SECONDS
    try:
        url = _media_url(client, platform, token, attachment)
        for _ in range(REDIRECTS_AT_MOST + 1):
            answer = _download(client, platform, token, url, deadline)
            if isinstance(answer, Media):
                return _typed(answer, attachment.get("mime_type"))
            url = urljoin(url, answer)
    except httpx.HTTPError as error:
        raise TransientError(f"media: not fetched: {type(error).__name__}") from None
    except (httpx.InvalidURL, ValueError):
        raise PermanentError("media: its address cannot be read") from None
    raise PermanentError("media: redirected too often")


def _media_url(client: GraphClient, platform: Platform, token: str, attachment: dict[str, Any]) -> str:
    # WhatsApp's URLs live for five minutes and its ids for seven days: always ask for a fresh URL
    media_id = attachment.get("id")
    if platform is Platform.WHATSAPP and media_id:
        response = client.get(platform, str(media_id), token, timeout=_SILENT_SECONDS_AT_MOST)
        body = read_json(response)
        if response.status_code != 200:
            error = classify(response.status_code, body)
            # asking changes nothing: what would be unknown for a send is only a fault here
            raise TransientError(f"media: {error}") if isinstance(error, UnknownOutcome) else error
        url = body.get("url") if isinstance(body, dict) else None
    else:
        url = attachment.get("url")
    if not isinstance(url, str) or not url:
        raise PermanentError("media: Meta gives no address for it")
    return url


def _download(client: GraphClient, platform: Platform, token: str, url: str, deadline: float) -> Media | str:
    """The file, or where it is redirected to."""
    targets = _targets(url, client.stand_in_url, token if platform is Platform.WHATSAPP else None)
    for position, target in enumerate(targets, start=1):
        try:
            return _stream(client, target, deadline)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if position == len(targets) or time.monotonic() > deadline:
                raise
    raise TransientError("media: its host has no address")


def _stream(client: GraphClient, target: Target, deadline: float) -> Media | str:
    seconds = min(_SILENT_SECONDS_AT_MOST, max(0.1, deadline - time.monotonic()))
    with client.http.stream(
        "GET",
        target.url,
        headers=target.headers,
        extensions=target.extensions,
        timeout=seconds,
        follow_redirects=False,
    ) as response:
        status = response.status_code
        if status in REDIRECTS and "location" in response.headers:
            return response.headers["location"]
        if status == 429 or status >= 500:
            raise TransientError(f"media: its host answered {status}")
        if status != 200:
            raise PermanentError(f"media: its host answered {status}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise PermanentError("media: compressed, which was not asked for")
        if int(_digits(response.headers.get("content-length"))) > MAX_BYTES:
            raise PermanentError(f"media: larger than {MAX_BYTES >> 20} MB")
        return Media(_content(response, deadline), response.headers.get("content-type", ""))


def _content(response: httpx.Response, deadline: float) -> bytes:
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > MAX_BYTES:
            raise PermanentError(f"media: larger than {MAX_BYTES >> 20} MB")
        if time.monotonic() > deadline:
            raise TransientError(f"media: not complete within {MAX_SECONDS:.0f} s")
    if not content:
        raise PermanentError("media: empty")
    return bytes(content)


def _digits(value: str | None) -> str:
    return value if value and value.isascii() and value.isdigit() and len(value) < 20 else "0"


def _targets(url: str, stand_in: str | None, token: str | None) -> list[Target]:
    """What to connect to for ``url``, best first. Raises PermanentError for what is not on one of Meta's
    hosts, ValueError for what is no URL."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if stand_in and origin(parts) == origin(urlsplit(stand_in)):
        shown = bearer(token) if token else {}
        return [Target(url, {"Accept-Encoding": "identity", **shown}, sni=None)]
    allowed = host in _HOSTS or host.endswith(_SUFFIXES)
    if parts.scheme != "https" or not allowed or "@" in parts.netloc or port not in (None, 443):
        raise PermanentError(f"media: {host[:100] or 'no host'} is not one of Meta's hosts")
    shown = bearer(token) if token and host in _TOKEN_HOSTS else {}
    try:
        addresses = public_addresses(host, 443)
    except (PermanentError, TransientError) as error:
        raise type(error)(f"media: {error}") from None
    return [replace(target, headers={**target.headers, **shown}) for target in pin(parts, addresses)]


def _typed(media: Media, told: Any) -> Media:
    """With the type that the host declares, or else the one that the webhook told."""
    for declared in (media.mime_type, told):
        mime_type = str(declared or "").split(";")[0].strip().lower()
        if mime_type != _UNTYPED and _MIME_TYPE.fullmatch(mime_type):
            return Media(media.content, mime_type)
    return Media(media.content, _UNTYPED)
