"""Fetching media: whom it may ask, whom it may show the token, and how much it takes."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from socialsync_common.contracts import Platform
from socialsync_common.errors import AuthenticationExpired, PermanentError, TransientError
from socialsync_common.fetching import is_public
from socialsync_common.platforms import GraphClient, Media, fetch_media
from socialsync_common.settings import GraphSettings

WHATSAPP = Platform.WHATSAPP
PUBLIC = "157.240.1.1"
LOOKASIDE = "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1"
CDN = "https://scontent.xx.fbcdn.net/v/t1.jpg?sig=a%2Fb"
STAND_IN = "http://127.0.0.1:8001"
PNG = httpx.Response(200, content=b"\x89PNG", headers={"content-type": "image/png; x=1"})

Handler = Callable[[httpx.Request], httpx.Response]


def unread(answer: httpx.Response) -> httpx.Response:
    """As it comes from a socket: a body built in memory counts as read already."""
    if not answer.is_closed:
        return answer
    return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))


class Meta:
    """Answers by host and path, and keeps what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.requests = answers, list[httpx.Request]()
        self.default = PNG

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.get(request.url.path.rpartition("/")[2], self.default)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return unread(answer)

    def asked(self) -> list[tuple[str, str, bool]]:
        """(address, Host header, whether the token was shown)."""
        return [(one.url.host, one.headers["host"], "authorization" in one.headers) for one in self.requests]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses; any other name is public."""
    names: dict[str, list[str]] = {}

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        found = names.get(host, [PUBLIC])
        if not found:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


def fetch(
    meta: Handler, platform: Platform = WHATSAPP, stand_in: str | None = None, **attachment: Any
) -> Media:
    http = httpx.Client(transport=httpx.MockTransport(meta), follow_redirects=True)
    graph = GraphClient(GraphSettings(meta_graph_url=stand_in), http)
    return fetch_media(graph, platform, "EAAG-token", attachment)


def at(url: str) -> httpx.Response:
    return httpx.Response(200, json={"url": url, "mime_type": "image/png"})


def test_whatsapp_asks_for_a_fresh_url_and_shows_the_token(dns: dict[str, list[str]]) -> None:
    meta = Meta(**{"900": at(LOOKASIDE)})
    got = fetch(meta, id="900", url="https://lookaside.fbsbx.com/old", mime_type="image/jpeg")
    assert got == Media(b"\x89PNG", "image/png")
    assert meta.asked() == [
        ("graph.facebook.com", "graph.facebook.com", True),
        (PUBLIC, "lookaside.fbsbx.com", True),
    ]
    asked = meta.requests[1]
    assert asked.url.raw_path == b"/whatsapp_business/attachments/?mid=1"
    assert asked.extensions["sni_hostname"] == "lookaside.fbsbx.com"
    assert asked.headers["connection"] == "close"
    assert asked.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("platform", [Platform.INSTAGRAM, Platform.MESSENGER])
@pytest.mark.parametrize(
    "url",
    [
        CDN,
        "https://lookaside.fbsbx.com/ig/1",
        "https://a.b.cdninstagram.com/1",
        "https://graph.facebook.com/1",
    ],
)
def test_signed_urls_get_no_token(platform: Platform, url: str, dns: dict[str, list[str]]) -> None:
    meta = Meta()
    assert fetch(meta, platform, url=url).content == b"\x89PNG"
    assert [shown for _, _, shown in meta.asked()] == [False]


def test_the_token_never_goes_to_a_content_network(dns: dict[str, list[str]]) -> None:
    meta = Meta(**{"900": at(CDN)})
    fetch(meta, id="900")
    assert meta.asked()[1] == (PUBLIC, "scontent.xx.fbcdn.net", False)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a.png",
        "http://lookaside.fbsbx.com/a.png",
        "https://lookaside.fbsbx.com.evil.example/",
        "https://evillookaside.fbsbx.com/",
        "https://fbcdn.net/",
        "https://evilfbcdn.net/",
        "https://user@lookaside.fbsbx.com/",
        "https://lookaside.fbsbx.com@evil.example/",
        "https://lookaside.fbsbx.com\\@evil.example/",
        "https://lookaside.fbsbx.com:8443/",
        "https://lookaside.fbsbx.com:x/",
        "https://lookaside.fbsbx.com./",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::1/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "ftp://lookaside.fbsbx.com/",
        "//lookaside.fbsbx.com/",
        "",
        "x",
        None,
        5,
        f"{STAND_IN}/media/1",
    ],
)
def test_other_addresses_are_refused(url: Any, dns: dict[str, list[str]]) -> None:
    meta = Meta()
    with pytest.raises(PermanentError) as caught:
        fetch(meta, Platform.INSTAGRAM, url=url)
    assert meta.requests == []
    assert "token" not in str(caught.value)


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "10.0.0.8",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "ff02::1",
    ],
)
def test_names_that_lead_inside_are_refused(ip: str, dns: dict[str, list[str]]) -> None:
    assert not is_public(ip)
    dns["lookaside.fbsbx.com"] = [PUBLIC, ip]
    meta = Meta()
    with pytest.raises(PermanentError, match="not public"):
        fetch(meta, url=LOOKASIDE)
    assert meta.requests == []


@pytest.mark.parametrize("ip", [PUBLIC, "2a03:2880:f003::1", "64:ff9b::9df0:101", "::ffff:157.240.1.1"])
def test_public_addresses(ip: str, dns: dict[str, list[str]]) -> None:
    assert is_public(ip)
    dns["lookaside.fbsbx.com"] = [ip]
    assert fetch(Meta(), url=LOOKASIDE).mime_type == "image/png"


def test_a_name_is_resolved_once(dns: dict[str, list[str]]) -> None:
    def meta(request: httpx.Request) -> httpx.Response:
        dns["lookaside.fbsbx.com"] = ["127.0.0.1"]  # the second answer of a rebinding name server
        assert request.url.host == PUBLIC
        return unread(PNG)

    assert fetch(meta, url=LOOKASIDE).content


def test_the_next_address_is_tried_where_one_is_not_reached(dns: dict[str, list[str]]) -> None:
    dns["lookaside.fbsbx.com"] = ["2a03:2880::1", PUBLIC]

    def meta(request: httpx.Request) -> httpx.Response:
        if request.url.host != PUBLIC:
            raise httpx.ConnectError("no route")
        return unread(PNG)

    assert fetch(meta, url=LOOKASIDE).content


def test_no_address(dns: dict[str, list[str]]) -> None:
    dns["lookaside.fbsbx.com"] = []
    with pytest.raises(TransientError, match="does not resolve"):
        fetch(Meta(), url=LOOKASIDE)


def test_redirects_stay_on_the_list(dns: dict[str, list[str]]) -> None:
    meta = Meta(a=httpx.Response(302, headers={"location": CDN}))
    assert fetch(meta, url="https://lookaside.fbsbx.com/a").content == b"\x89PNG"
    assert meta.asked() == [(PUBLIC, "lookaside.fbsbx.com", True), (PUBLIC, "scontent.xx.fbcdn.net", False)]
    for to in (
        "https://evil.example/",
        "http://127.0.0.1/",
        "http://lookaside.fbsbx.com/b",
        "https://[x/",
        "\x00",
    ):
        meta = Meta(a=httpx.Response(301, headers={"location": to}))
        meta.default = httpx.Response(404)
        with pytest.raises((PermanentError, TransientError)):
            fetch(meta, url="https://lookaside.fbsbx.com/a")
        assert len(meta.requests) <= 2
    meta = Meta(a=httpx.Response(302, headers={"location": "a"}))
    with pytest.raises(PermanentError, match="too often"):
        fetch(meta, url="https://lookaside.fbsbx.com/a")
    assert len(meta.requests) == 4


def test_the_stand_in_may_be_plain_and_local() -> None:
    meta = Meta(**{"900": at(f"{STAND_IN}/sandbox/media/1")})
    assert fetch(meta, stand_in=f"{STAND_IN}/", id="900").content == b"\x89PNG"
    assert [shown for _, _, shown in meta.asked()] == [True, True]
    meta = Meta()
    fetch(meta, Platform.INSTAGRAM, stand_in=STAND_IN, url=f"{STAND_IN}/sandbox/cdn/1")
    assert [shown for _, _, shown in meta.asked()] == [False]
    for other in (
        "http://127.0.0.1:8002/",
        "https://127.0.0.1:8001/",
        "http://127.0.0.1:80010/",
        "http://localhost:8001/",
    ):
        with pytest.raises(PermanentError):
            fetch(Meta(), stand_in=STAND_IN, url=other)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(404, json={"error": {"code": 100, "error_subcode": 33}}), PermanentError),
        (httpx.Response(401, json={"error": {"code": 190}}), AuthenticationExpired),
        (httpx.Response(400, json={"error": {"code": 4}}), TransientError),
        (httpx.Response(500, json={"error": {"code": 2}}), TransientError),
        (httpx.Response(200, content=b"<html>"), PermanentError),
        (httpx.Response(200, json=[]), PermanentError),
        (httpx.Response(200, json={"url": 7}), PermanentError),
        (httpx.ConnectError("away"), TransientError),
        (httpx.ReadTimeout("slow"), TransientError),
    ],
)
def test_the_media_object_cannot_be_had(answer: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        fetch(Meta(**{"900": answer}), id="900")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(404), PermanentError),
        (httpx.Response(403), PermanentError),
        (httpx.Response(204), PermanentError),
        (httpx.Response(200, content=b""), PermanentError),
        (httpx.Response(429), TransientError),
        (httpx.Response(503), TransientError),
        (httpx.ReadError("cut"), TransientError),
        (httpx.RemoteProtocolError("cut"), TransientError),
    ],
)
def test_the_file_cannot_be_had(answer: Any, kind: type[Exception], dns: dict[str, list[str]]) -> None:
    meta = Meta()
    meta.answers["file"] = answer
    with pytest.raises(kind):
        fetch(meta, url="https://lookaside.fbsbx.com/file")


def test_ids_stay_ids(dns: dict[str, list[str]]) -> None:
    meta = Meta()
    meta.default = at(LOOKASIDE)
    fetch(meta, id="../me/accounts?x=1")
    assert meta.requests[0].url.raw_path == b"/v24.0/..%2Fme%2Faccounts%3Fx%3D1"


def streamed(chunks: Iterator[bytes], **headers: str) -> httpx.Response:
    return httpx.Response(200, content=chunks, headers=headers)


def test_too_large(dns: dict[str, list[str]]) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1 << 20)

    meta = Meta()
    meta.default = streamed(endless())
    with pytest.raises(PermanentError, match="16 MB"):
        fetch(meta, url=LOOKASIDE)
    assert taken == 17
    meta.default = streamed(iter([b"x"]), **{"content-length": str(17 << 20)})
    with pytest.raises(PermanentError, match="16 MB"):
        fetch(meta, url=LOOKASIDE)
    meta.default = streamed(iter([bytes(16 << 20)]))
    assert len(fetch(meta, url=LOOKASIDE).content) == 16 << 20


def test_too_slow(dns: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def drips() -> Iterator[bytes]:
        nonlocal now
        while True:
            now += 3
            yield b"x"

    meta = Meta()
    meta.default = streamed(drips())
    with pytest.raises(TransientError, match="20 s"):
        fetch(meta, url=LOOKASIDE)
    assert now == 1021
    assert meta.requests[0].extensions["timeout"]["read"] <= 5


def test_a_compressed_body_is_not_unfolded(dns: dict[str, list[str]]) -> None:
    meta = Meta()
    meta.default = streamed(iter([gzip.compress(bytes(64 << 20))]), **{"content-encoding": "gzip"})
    with pytest.raises(PermanentError, match="compressed"):
        fetch(meta, url=LOOKASIDE)


@pytest.mark.parametrize(
    ("declared", "told", "expected"),
    [
        ("image/jpeg", "image/png", "image/jpeg"),
        ("IMAGE/JPEG; charset=x", None, "image/jpeg"),
        ("application/octet-stream", "audio/ogg; codecs=opus", "audio/ogg"),
        (None, "image/png", "image/png"),
        ("nonsense", None, "application/octet-stream"),
        ('image/png";base64,evil', "x y/z", "application/octet-stream"),
    ],
)
def test_type(declared: str | None, told: str | None, expected: str, dns: dict[str, list[str]]) -> None:
    meta = Meta()
    meta.default = httpx.Response(200, content=b"x", headers={"content-type": declared} if declared else {})
    assert fetch(meta, url=LOOKASIDE, mime_type=told).mime_type == expected


def test_content_is_not_shown() -> None:
    assert "secret" not in repr(Media(b"secret", "image/png"))
