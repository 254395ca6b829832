"""Fetching a user's URL: whom it may reach, what it may cost, and what it says when it refuses."""

from __future__ import annotations

import asyncio
import gzip
import io
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import pytest

from socialsync_common.errors import PermanentError, TransientError
from socialsync_common.fetching import Bounds, Fetcher, TooLarge, is_public

PUBLIC = "93.184.215.14"
URL = "https://example.com/pictures/bread%20roll.jpg?size=l"
JPEG = b"\xff\xd8\xff" + bytes(100)
MP4 = b"\0\0\0\x18ftypisom" + bytes(100)
KIB = 1024

Handler = Callable[[httpx.Request], httpx.Response]
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",  # noqa: S104
    "10.0.0.8",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


class Web:
    """Answers by path, keeps what was asked, and resolves names; any other name is public."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.requests = answers, list[httpx.Request]()
        self.names: dict[str, Sequence[str]] = {}
        self.resolved: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append((host, port))
        return self.names.get(host, [PUBLIC])

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.get(request.url.path.strip("/"), self.answers.get("default"))
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        return answer or body(JPEG)

    def fetcher(self, **options: Any) -> Fetcher:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self), follow_redirects=True)
        return Fetcher(http, resolve=self.resolve, **options)

    async def fetch(self, url: str = URL, **options: Any) -> tuple[str, bytes]:
        fetcher, sink = self.fetcher(**options), io.BytesIO()
        try:
            return await fetcher.fetch(url, sink), sink.getvalue()
        finally:
            await fetcher.close()


def body(*chunks: bytes, status: int = 200, **headers: str) -> httpx.Response:
    """As it comes from a socket: unread."""

    async def content() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=content(), headers=named)


def redirect(to: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": to})


async def test_a_file_is_fetched_from_the_address_that_was_checked() -> None:
    web = Web()
    assert await web.fetch() == ("bread roll.jpg", JPEG)
    (asked,) = web.requests
    assert (asked.url.host, asked.headers["host"]) == (PUBLIC, "example.com")
    assert asked.extensions["sni_hostname"] == "example.com"
    assert asked.url.raw_path == b"/pictures/bread%20roll.jpg?size=l"
    assert (asked.headers["accept-encoding"], asked.headers["connection"]) == ("identity", "close")
    assert "authorization" not in asked.headers
    assert web.resolved == [("example.com", 443)]


async def test_other_ways_to_write_a_url() -> None:
    web = Web()
    for url, host, port in (
        ("http://example.com/a", "example.com", 80),
        ("http://example.com:443/a", "example.com:443", 443),
        ("https://example.com:443/a", "example.com", 443),
        ("HTTPS://EXAMPLE.com/a", "example.com", 443),
        ("https://bäckerei.example/a", "xn--bckerei-5wa.example", 443),
        ("https://example.com/ä ö.jpg", "example.com", 443),
    ):
        await web.fetch(url)
        assert web.requests[-1].headers["host"] == host
        assert web.resolved[-1][1] == port


async def test_an_address_instead_of_a_name() -> None:
    web = Web()
    web.names["2606:2800::1"] = ["2606:2800::1"]
    await web.fetch("https://[2606:2800::1]/a")
    (asked,) = web.requests
    assert (asked.url.host, asked.headers["host"]) == ("2606:2800::1", "[2606:2800::1]")
    assert "sni_hostname" not in asked.extensions


@pytest.mark.parametrize("ip", PRIVATE)
async def test_names_that_lead_inside_are_refused(ip: str) -> None:
    assert not is_public(ip)
    web = Web()
    web.names["example.com"] = [PUBLIC, ip]
    with pytest.raises(PermanentError, match=r"not public: .* upload the file itself"):
        await web.fetch()
    assert web.requests == []


@pytest.mark.parametrize("ip", [PUBLIC, "2606:2800::1", "64:ff9b::5db8:d70e", "::ffff:93.184.215.14"])
async def test_public_addresses(ip: str) -> None:
    assert is_public(ip)
    web = Web()
    web.names["example.com"] = [ip]
    assert (await web.fetch())[1] == JPEG


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "localhost",
    ],
)
@pytest.mark.enable_socket
async def test_addresses_however_they_are_written(host: str) -> None:
    """The system's own resolver reads all of these, without asking anybody."""
    for scheme in ("http", "https"):
        fetcher = Fetcher()
        with pytest.raises((PermanentError, TransientError), match=r"not public|does not resolve"):
            await fetcher.fetch(f"{scheme}://{host}/latest/meta-data/", io.BytesIO())
        await fetcher.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "https://"),
        ("ftp://example.com/a", "https://"),
        ("gopher://example.com/", "https://"),
        ("data:image/png;base64,AAAA", "https://"),
        ("//example.com/a", "https://"),
        ("example.com/a", "https://"),
        ("", "https://"),
        ("https:///a", "https://"),
        ("https://user:secret@example.com/", "user name or password"),
        ("https://example.com@127.0.0.1/", "user name or password"),
        ("https://@example.com/", "user name or password"),
        ("https://example.com:8443/", "port"),
        ("http://example.com:6379/", "port"),
        ("http://example.com:22/", "port"),
        ("http://example.com:0/", "port"),
        ("https://example.com:x/", "cannot be read"),
        ("https://example.com:99999/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://[x]/", "cannot be read"),
        ("https://example.com/\x00", "cannot be read"),
        (f"https://{'ä' * 70}.example/", "cannot be read"),
    ],
)
async def test_other_urls_are_refused(url: str, says: str) -> None:
    web = Web()
    with pytest.raises(PermanentError, match=says) as caught:
        await web.fetch(url)
    assert web.requests == []
    assert "secret" not in str(caught.value)


async def test_a_name_is_resolved_once() -> None:
    web = Web()
    answers = iter([[PUBLIC], ["127.0.0.1"]])  # a rebinding name server
    fetcher = Fetcher(httpx.AsyncClient(transport=httpx.MockTransport(web)), resolve=lambda *_: next(answers))
    await fetcher.fetch(URL, io.BytesIO())
    assert [one.url.host for one in web.requests] == [PUBLIC]
    with pytest.raises(PermanentError, match="not public"):
        await fetcher.fetch(URL, io.BytesIO())
    assert len(web.requests) == 1


async def test_a_name_that_turns_inside_between_redirects() -> None:
    web = Web(a=redirect("/b"))
    answers = iter([[PUBLIC], ["10.0.0.1"]])
    fetcher = Fetcher(httpx.AsyncClient(transport=httpx.MockTransport(web)), resolve=lambda *_: next(answers))
    with pytest.raises(PermanentError, match="not public"):
        await fetcher.fetch("https://example.com/a", io.BytesIO())
    assert len(web.requests) == 1


async def test_names_without_addresses() -> None:
    def fails(host: str, port: int) -> Sequence[str]:
        raise OSError

    for resolve in (fails, lambda *_: []):
        fetcher = Fetcher(httpx.AsyncClient(transport=httpx.MockTransport(Web())), resolve=resolve)
        with pytest.raises(TransientError, match=r"example.com does not resolve: check the URL"):
            await fetcher.fetch(URL, io.BytesIO())


async def test_the_next_address_is_tried_where_one_is_not_reached() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host != PUBLIC:
            raise httpx.ConnectError("no route")
        return body(JPEG)

    web = Web(default=answer)
    web.names["example.com"] = ["2606:2800::1", PUBLIC]
    assert (await web.fetch())[1] == JPEG
    web.names["example.com"] = ["2606:2800::1"]
    with pytest.raises(TransientError, match="ConnectError"):
        await web.fetch()


async def test_redirects_are_followed_and_checked() -> None:
    web = Web(a=redirect("https://cdn.example/b"), b=redirect("c.png"))
    assert await web.fetch("https://example.com/a") == ("c.png", JPEG)
    assert web.resolved == [("example.com", 443), ("cdn.example", 443), ("cdn.example", 443)]


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.1/",
        "http://inside.example/",
        "http://[::1]/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "https://example.com:6379/",
        "https://[x/",
        "\x00",
    ],
)
async def test_redirects_inside_are_refused(to: str) -> None:
    web = Web(a=redirect(to))
    web.names |= {"inside.example": ["192.168.0.1"], "127.0.0.1": ["127.0.0.1"], "::1": ["::1"]}
    with pytest.raises((PermanentError, TransientError)):
        await web.fetch("https://example.com/a")
    assert len(web.requests) <= 1 + (to == "\x00")


async def test_too_many_redirects() -> None:
    web = Web(a=redirect("a"))
    with pytest.raises(PermanentError, match="more than 3 times"):
        await web.fetch("https://example.com/a")
    assert len(web.requests) == 4


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (httpx.Response(404), PermanentError, "answered 404: check that anyone may open"),
        (httpx.Response(403), PermanentError, "403"),
        (httpx.Response(204), PermanentError, "204"),
        (httpx.Response(206, content=b"x"), PermanentError, "206"),
        (httpx.Response(302), PermanentError, "302"),
        (httpx.Response(429), TransientError, "429: try again later"),
        (httpx.Response(503), TransientError, "503"),
        (httpx.ReadError("cut"), TransientError, "ReadError"),
        (httpx.RemoteProtocolError("cut"), TransientError, "upload the file itself"),
        (httpx.ReadTimeout("slow"), TransientError, "ReadTimeout"),
    ],
)
async def test_the_host_does_not_give_it(answer: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        await Web(default=answer).fetch()


async def test_an_empty_file() -> None:
    with pytest.raises(PermanentError, match="empty"):
        await Web(default=lambda _: body()).fetch()


async def test_a_compressed_body_is_not_unfolded() -> None:
    packed = gzip.compress(bytes(1 << 20))
    with pytest.raises(PermanentError, match="compressed"):
        await Web(default=body(packed, content_encoding="gzip")).fetch()


BOUNDS = {"image": Bounds(64 * KIB, 5.0), "video": Bounds(256 * KIB, 5.0)}


@pytest.mark.parametrize(("head", "allowed"), [(JPEG[:12], 64), (MP4[:12], 256)])
async def test_a_size_is_not_exceeded_whatever_is_declared(head: bytes, allowed: int) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield head
        while True:
            taken += 1
            yield bytes(KIB)

    with pytest.raises(TooLarge, match=r"larger than 0 MB: make it smaller"):
        await Web(default=httpx.Response(200, content=endless())).fetch(**BOUNDS)
    assert taken == allowed
    full = head + bytes(allowed * KIB - len(head))
    # even where the first bytes come one by one
    got = await Web(default=body(*(full[at : at + 1] for at in range(12)), full[12:])).fetch(**BOUNDS)
    assert got[1] == full


async def test_a_declared_size_is_refused_unread() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    answer = httpx.Response(200, content=never(), headers={"content-length": str(300 * KIB)})
    with pytest.raises(TooLarge):
        await Web(default=answer).fetch(**BOUNDS)


def dripping(seen: list[float], head: bytes = b"x") -> httpx.Response:
    clock = asyncio.get_running_loop().time
    started = clock()

    async def content() -> AsyncIterator[bytes]:
        yield head
        while True:
            await asyncio.sleep(0.02)
            seen.append(clock() - started)
            yield b"x"

    return httpx.Response(200, content=content())


@pytest.mark.parametrize(("head", "seconds"), [(JPEG, 0.2), (MP4, 1.0)])
async def test_a_drip_ends_with_its_time(head: bytes, seconds: float) -> None:
    """However steadily it drips; a video has more time, counted from the same beginning."""
    seen: list[float] = []
    with pytest.raises(TransientError, match="not complete in time"):
        await Web(default=lambda _: dripping(seen, head)).fetch(
            image=Bounds(KIB * KIB, 0.2), video=Bounds(KIB * KIB, 1.0)
        )
    assert seconds / 2 < seen[-1] < seconds + 2


async def test_a_hanging_name_server_ends_with_its_time() -> None:
    asked = asyncio.Event()
    loop, answered = asyncio.get_running_loop(), threading.Event()

    def hangs(host: str, port: int) -> Sequence[str]:
        loop.call_soon_threadsafe(asked.set)
        answered.wait(10)
        return [PUBLIC]

    fetcher = Fetcher(resolve=hangs, image=Bounds(KIB, 0.1))
    with pytest.raises(TransientError, match="in time"):
        await fetcher.fetch(URL, io.BytesIO())
    assert asked.is_set()
    answered.set()


async def test_a_stand_in_is_named_in_code_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRUSTED_ORIGINS", "SOCIALSYNC_TRUSTED_ORIGINS"):
        monkeypatch.setenv(name, "http://127.0.0.1:8001")
    trusted = {"trusted_origins": ["http://127.0.0.1:8001"]}
    web = Web()
    web.names["127.0.0.1"] = ["127.0.0.1"]
    assert (await web.fetch("http://127.0.0.1:8001/a.jpg", **trusted))[1] == JPEG
    for other in (
        "http://127.0.0.1:8002/",
        "https://127.0.0.1:8001/",
        "http://127.0.0.1/",
        "http://127.0.0.1:80010/",
    ):
        with pytest.raises(PermanentError):
            await web.fetch(other, **trusted)
    with pytest.raises(PermanentError):
        await web.fetch("http://127.0.0.1:8001/a.jpg")
    assert len(web.requests) == 1


@pytest.mark.enable_socket
async def test_a_real_host_that_drips_its_headers() -> None:
    """The time is counted from the first byte to the last, headers included."""
    finished = asyncio.Event()

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        left = asyncio.ensure_future(reader.read())
        while not left.done():
            writer.write(b"x")
            await asyncio.wait([left], timeout=0.02)
        writer.close()
        finished.set()

    server = await asyncio.start_server(drips, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fetcher = Fetcher(trusted_origins=[f"http://127.0.0.1:{port}"], image=Bounds(KIB, 0.3))
    async with server:
        with pytest.raises(TransientError):
            await fetcher.fetch(f"http://127.0.0.1:{port}/a", io.BytesIO())
        await fetcher.close()
        await finished.wait()


@pytest.mark.enable_socket
async def test_tls_is_checked_against_the_name_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name's certificate is asked for by name; a host that has none is refused."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: asked.append(name)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    class Rerouted(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.url = request.url.copy_with(host="127.0.0.1", port=port)
            return await super().handle_async_request(request)

    fetcher = Fetcher(httpx.AsyncClient(transport=Rerouted()), resolve=lambda *_: [PUBLIC])
    async with server:
        with pytest.raises(TransientError, match="ConnectError"):
            await fetcher.fetch(URL, io.BytesIO())
        await fetcher.close()
    assert asked == ["example.com"]
