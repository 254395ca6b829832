"""Fetching what a URL from outside names: from public addresses only, bounded in size and time.

A name is resolved once, and the connection goes to the address that was checked: what the name means a moment
later does not matter.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httpx

from socialsync_common.errors import PermanentError, TransientError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_AT_MOST = 3
_PORTS = {"http": 80, "https": 443}
_ADDRESSES_AT_MOST = 3
_CONNECT_SECONDS = 5.0
_SILENT_SECONDS_AT_MOST = 10.0
_PIECE_BYTES = 1024 * 1024
_SNIFFED_BYTES = 12
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_6TO4 = ipaddress.ip_network("2002::/16")  # an IPv4 address, of anybody's choice, is inside

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one file may cost."""

    max_bytes: int
    seconds: float


IMAGE = Bounds(30 * 1024 * 1024, 20.0)
VIDEO = Bounds(300 * 1024 * 1024, 120.0)


class TooLarge(PermanentError):
    """The file is too large."""


class Sink(Protocol):
    """Where the bytes go: a binary file, or what behaves like one."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be fetched: the address to connect to stands in for the name, which cannot change meanwhile."""

    url: str
    headers: dict[str, str]
    sni: str | None

    @property
    def extensions(self) -> dict[str, str]:
        return {"sni_hostname": self.sni} if self.sni else {}


def is_public(ip: str) -> bool:
    """Whether an address is out on the internet: not private, loopback, link-local, multicast or reserved."""
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif address not in _GLOBAL_UNICAST or address in _6TO4:
            return False
    return address.is_global and not address.is_multicast


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError or UnicodeError where it has none."""
    return [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def public_addresses(host: str, port: int, resolve: Resolve = resolve) -> list[str]:
    """The addresses to connect to for ``host``, best first.

    Raises:
        TransientError: it does not resolve.
        PermanentError: one of its addresses is not public.
    """
    try:
        addresses = list(dict.fromkeys(resolve(host, port)))
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise TransientError(f"{host} does not resolve")
    if not all(map(is_public, addresses)):
        raise PermanentError(f"{host} resolves to an address that is not public")
    return addresses[:_ADDRESSES_AT_MOST]


def pin(parts: SplitResult, addresses: Sequence[str]) -> list[Target]:
    """The URL at each of the addresses, with the name left in the Host header and in TLS."""
    host, default = parts.hostname or "", _PORTS.get(parts.scheme)
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    headers = {
        # identity: a small compressed body could unfold into a huge one
        "Accept-Encoding": "identity",
        "Host": _bracketed(host) + port,
        # closed afterwards: a kept connection to this address must not serve another name
        "Connection": "close",
    }
    sni = None if _is_address(host) else host
    return [Target(parts._replace(netloc=_bracketed(ip) + port).geturl(), headers, sni) for ip in addresses]


def origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


class Fetcher:
    """Fetches pictures and videos that users name by URL."""

    def __init__(
        self,
        http: httpx.AsyncClient | None = None,
        *,
        resolve: Resolve = resolve,
        trusted_origins: Collection[str] = (),
        image: Bounds = IMAGE,
        video: Bounds = VIDEO,
    ) -> None:
        """``trusted_origins``: stand-ins (``http://127.0.0.1:8001``) whose address and port are not looked at."""
        timeout = httpx.Timeout(_SILENT_SECONDS_AT_MOST, connect=_CONNECT_SECONDS)
        self._http = http or httpx.AsyncClient(timeout=timeout, follow_redirects=False)
        self._resolve = resolve
        self._trusted = {origin(urlsplit(one)) for one in trusted_origins}
        self._image, self._video = image, video

    async def close(self) -> None:
        await self._http.aclose()

    async def fetch(self, url: str, sink: Sink) -> str:
        """Write the file to ``sink``; returns the name that its URL gives it, which may be empty.

        Raises:
            PermanentError: no such URL may be fetched, its host refuses it, or it is too large (TooLarge).
            TransientError: not had in time, or its host has a fault.
        """
        try:
            async with asyncio.timeout(self._image.seconds) as deadline:
                return await self._follow(url, sink, deadline)
        except TimeoutError:
            raise TransientError(
                "the file was not complete in time: try again, or upload the file itself"
            ) from None
        except httpx.HTTPError as error:
            raise TransientError(
                f"the file was not fetched ({type(error).__name__}): check the URL, try again, or upload the file itself"
            ) from None
        except (httpx.InvalidURL, ValueError):
            raise PermanentError("the URL cannot be read: check how it is written") from None

    async def _follow(self, url: str, sink: Sink, deadline: asyncio.Timeout) -> str:
        for _ in range(REDIRECTS_AT_MOST + 1):
            redirect = await self._download(url, sink, deadline)
            if redirect is None:
                return unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
            url = urljoin(url, redirect)
        raise PermanentError(
            f"the URL redirects more than {REDIRECTS_AT_MOST} times: give the file's own URL"
        )

    async def _download(self, url: str, sink: Sink, deadline: asyncio.Timeout) -> str | None:
        targets = await self._targets(url)
        for position, target in enumerate(targets, start=1):
            try:
                return await self._stream(target, sink, deadline)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if position == len(targets):
                    raise
        raise AssertionError  # a name without addresses does not resolve

    async def _targets(self, url: str) -> list[Target]:
        parts = urlsplit(url)
        if origin(parts) in self._trusted:
            return [Target(url, {"Accept-Encoding": "identity"}, sni=None)]
        if parts.scheme not in _PORTS or not parts.hostname:
            raise PermanentError("the URL must start with https:// or http://, and name a host")
        if "@" in parts.netloc:
            raise PermanentError("the URL must not carry a user name or password")
        if parts.port not in (None, *_PORTS.values()):
            raise PermanentError("the URL's port must be 443 or 80")
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
        parts = parts._replace(netloc=_bracketed(host) + (f":{parts.port}" if parts.port else ""))
        port = parts.port or _PORTS[parts.scheme]
        try:
            addresses = await asyncio.to_thread(public_addresses, host, port, self._resolve)
        except TransientError as error:
            raise TransientError(f"{error}: check the URL") from None
        except PermanentError as error:
            raise PermanentError(f"{error}: give a URL on the internet, or upload the file itself") from None
        return pin(parts, addresses)

    async def _stream(self, target: Target, sink: Sink, deadline: asyncio.Timeout) -> str | None:
        """Write the file, or return where it is redirected to."""
        async with self._http.stream(
            "GET",
            target.url,
            headers=target.headers,
            extensions=target.extensions,
            follow_redirects=False,
        ) as response:
            status = response.status_code
            if status in REDIRECTS and "location" in response.headers:
                return response.headers["location"]
            if status == 429 or status >= 500:
                raise TransientError(f"the file's host answered {status}: try again later")
            if status != 200:
                raise PermanentError(f"the file's host answered {status}: check that anyone may open the URL")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise PermanentError(
                    "the file's host sends it compressed, unasked: upload the file itself instead"
                )
            length = response.headers.get("content-length", "")
            if length.isascii() and length.isdigit():
                _check(int(length[:20]), self._video)
            await self._copy(response, sink, deadline)
        return None

    async def _copy(self, response: httpx.Response, sink: Sink, deadline: asyncio.Timeout) -> None:
        size, piece, bounds = 0, bytearray(), self._image
        async for chunk in response.aiter_raw():
            if size < _SNIFFED_BYTES <= size + len(chunk) and is_video(bytes(piece) + chunk):
                bounds = self._video
                started = (deadline.when() or 0) - self._image.seconds
                deadline.reschedule(started + bounds.seconds)
            size += len(chunk)
            piece += chunk
            _check(size, bounds)
            if len(piece) >= _PIECE_BYTES:
                await asyncio.to_thread(sink.write, bytes(piece))
                piece.clear()
        if not size:
            raise PermanentError("the file is empty: check the URL")
        await asyncio.to_thread(sink.write, bytes(piece))


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is of the MP4 family."""
    return head[4:8] == b"ftyp"


def _check(size: int, bounds: Bounds) -> None:
    if size > bounds.max_bytes:
        raise TooLarge(f"the file is larger than {bounds.max_bytes >> 20} MB: make it smaller")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
