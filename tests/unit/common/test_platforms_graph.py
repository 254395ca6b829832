"""Sends through the Graph API: what is written on the wire, and what each transport fault proves."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from socialsync_common.contracts import Identity, IdentityKind, Platform
from socialsync_common.errors import AuthenticationExpired, PermanentError, TransientError, UnknownOutcome
from socialsync_common.platforms import GraphClient, OutgoingText
from socialsync_common.settings import GraphSettings

PHONE = Identity(IdentityKind.PHONE, "33612345678")
SCOPED = Identity(IdentityKind.SCOPED_ID, "7700")
TEXT = OutgoingText(Platform.WHATSAPP, "1055", "EAAG-token", PHONE, "Hello é 👋", "send-1")
DIRECT = replace(TEXT, platform=Platform.INSTAGRAM, account_id="1784", recipient=SCOPED)
WHATSAPP_OK = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.1", "message_status": "accepted"}]}
RECORDED = Path(__file__).parents[4] / "shared" / "payloads" / "resp_wa_send_ok.json"
DIRECT_OK = {"recipient_id": "7700", "message_id": "mid.1"}


class Wire:
    """A transport that keeps the requests and gives one answer."""

    def __init__(self, status: int = 200, answer: Any = None, fault: Exception | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._response, self._fault = (status, answer), fault

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._fault:
            raise self._fault
        status, answer = self._response
        if isinstance(answer, bytes):
            return httpx.Response(status, content=answer)
        return httpx.Response(status, json=answer)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def client(wire: Wire, **settings: Any) -> GraphClient:
    return GraphClient(GraphSettings(**settings), httpx.Client(transport=httpx.MockTransport(wire)))


def test_whatsapp_by_phone_number() -> None:
    wire = Wire(answer=WHATSAPP_OK)
    assert client(wire).send_text(TEXT) == "wamid.1"
    (request,) = wire.requests
    assert str(request.url) == "https://graph.facebook.com/v24.0/1055/messages"
    assert request.headers["authorization"] == "Bearer EAAG-token"
    assert request.headers["content-type"] == "application/json"
    assert wire.bodies() == [
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "33612345678",
            "type": "text",
            "text": {"body": "Hello é 👋"},
            "biz_opaque_callback_data": "send-1",
        }
    ]


@pytest.mark.skipif(not RECORDED.is_file(), reason="no recorded answers beside the repository")
def test_a_recorded_answer_gives_the_message_id() -> None:
    answer = json.loads(RECORDED.read_text(encoding="utf-8"))["body"]
    assert client(Wire(answer=answer)).send_text(TEXT) == answer["messages"][0]["id"]


@pytest.mark.parametrize("kind", [IdentityKind.USER_ID, IdentityKind.PARENT_USER_ID])
def test_whatsapp_by_user_id_never_uses_to(kind: IdentityKind) -> None:
    wire = Wire(answer=WHATSAPP_OK)
    client(wire).send_text(replace(TEXT, recipient=Identity(kind, "US.1349")))
    (body,) = wire.bodies()
    assert body["recipient"] == "US.1349"
    assert "to" not in body


@pytest.mark.parametrize(
    ("platform", "host"),
    [(Platform.INSTAGRAM, "graph.instagram.com"), (Platform.MESSENGER, "graph.facebook.com")],
)
def test_direct_messages(platform: Platform, host: str) -> None:
    wire = Wire(answer=DIRECT_OK)
    message = replace(DIRECT, platform=platform)
    assert client(wire).send_text(message) == "mid.1"
    client(wire).send_text(replace(message, tag_person=True))
    assert [str(one.url) for one in wire.requests] == [f"https://{host}/v24.0/1784/messages"] * 2
    common = {"recipient": {"id": "7700"}, "message": {"text": "Hello é 👋"}}
    assert wire.bodies() == [
        {**common, "messaging_type": "RESPONSE"},
        {**common, "messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"},
    ]


@pytest.mark.parametrize("message", [TEXT, DIRECT, replace(DIRECT, platform=Platform.MESSENGER)])
def test_a_stand_in_serves_all_platforms(message: OutgoingText) -> None:
    wire = Wire(answer=DIRECT_OK)
    client(wire, meta_graph_url="http://127.0.0.1:8001/", meta_graph_version="v26.0").send_text(message)
    assert str(wire.requests[0].url) == f"http://127.0.0.1:8001/v26.0/{message.account_id}/messages"


def test_appsecret_proof_goes_to_facebook_only() -> None:
    wire = Wire(answer=DIRECT_OK)
    signing = client(wire, meta_app_secret="app-secret")
    for message in (TEXT, replace(DIRECT, platform=Platform.MESSENGER), DIRECT):
        signing.send_text(message)
    proof = hmac.new(b"app-secret", b"EAAG-token", hashlib.sha256).hexdigest()
    assert [dict(one.url.params) for one in wire.requests] == [
        {"appsecret_proof": proof},
        {"appsecret_proof": proof},
        {},
    ]


def test_neither_token_nor_text_is_shown() -> None:
    assert "EAAG-token" not in repr(TEXT)
    assert "Hello" not in repr(TEXT)


def test_half_a_surrogate_pair_can_be_sent() -> None:
    wire = Wire(answer=WHATSAPP_OK)
    assert client(wire).send_text(replace(TEXT, text="broken \ud83d")) == "wamid.1"


@pytest.mark.parametrize("token", ["", "with\nline", "with\x00", "ключ"])
def test_a_damaged_token_is_refused_before_anything_is_sent(token: str) -> None:
    wire = Wire(answer=WHATSAPP_OK)
    with pytest.raises(AuthenticationExpired, match="reconnect"):
        client(wire).send_text(replace(TEXT, token=token))
    client(wire).show_typing(Platform.WHATSAPP, "1055", token, PHONE, "wamid.0")
    assert wire.requests == []


@pytest.mark.parametrize(
    "fault",
    [httpx.ConnectError("dns"), httpx.ConnectTimeout(""), httpx.PoolTimeout(""), httpx.ProxyError("")],
)
def test_proven_not_sent(fault: Exception) -> None:
    waits = []
    for attempt in (1, 2, 9):
        with pytest.raises(TransientError) as caught:
            client(Wire(fault=fault)).send_text(TEXT, attempt)
        waits.append(caught.value.retry_after)
    assert waits == [4, 16, 300]


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadTimeout(""),
        httpx.WriteTimeout(""),
        httpx.ReadError(""),
        httpx.WriteError(""),
        httpx.CloseError(""),
        httpx.RemoteProtocolError(""),
        httpx.LocalProtocolError(""),
        httpx.DecodingError(""),
    ],
)
def test_may_have_been_sent(fault: Exception) -> None:
    with pytest.raises(UnknownOutcome):
        client(Wire(fault=fault)).send_text(TEXT)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b"\xff\xfe",
        {},
        None,
        [],
        {"messages": []},
        {"messages": [None]},
        {"messages": [{"id": ""}]},
        {"messages": [{"id": 5}]},
        {"message_id": None},
        {"error": {"code": 4}},
    ],
)
def test_200_without_an_id_is_unknown(answer: Any) -> None:
    with pytest.raises(UnknownOutcome):
        client(Wire(answer=answer)).send_text(TEXT)


@pytest.mark.parametrize(
    ("status", "answer", "kind", "retry_after"),
    [
        (400, {"error": {"code": 131056}}, TransientError, 64),
        (400, {"error": {"code": 131026}}, PermanentError, None),
        (401, {"error": {"code": 190}}, AuthenticationExpired, None),
        (500, {"error": {"code": 2}}, UnknownOutcome, None),
        (302, None, UnknownOutcome, None),
        (400, b"<html>", PermanentError, None),
    ],
)
def test_error_answers(status: int, answer: Any, kind: type[Exception], retry_after: float | None) -> None:
    wire = Wire(status, answer)
    with pytest.raises(kind) as caught:
        client(wire).send_text(TEXT, attempt=3)
    assert type(caught.value) is kind
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert len(wire.requests) == 1
    assert "token" not in str(caught.value).replace("access token", "")


def test_typing_on_whatsapp_is_one_call() -> None:
    wire = Wire(answer={"success": True})
    client(wire).show_typing(Platform.WHATSAPP, "1055", "t", PHONE, "wamid.0")
    assert wire.bodies() == [
        {
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": "wamid.0",
            "typing_indicator": {"type": "text"},
        }
    ]
    assert wire.requests[0].extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 5.0)


def test_typing_on_direct_messages() -> None:
    wire = Wire(answer={})
    client(wire).show_typing(Platform.INSTAGRAM, "1784", "t", SCOPED, "mid.0")
    assert wire.bodies() == [
        {"recipient": {"id": "7700"}, "sender_action": "mark_seen"},
        {"recipient": {"id": "7700"}, "sender_action": "typing_on"},
    ]


@pytest.mark.parametrize(
    "wire",
    [Wire(fault=httpx.ReadTimeout("")), Wire(fault=httpx.ConnectError("")), Wire(500), Wire(400, b"x")],
)
def test_typing_never_raises(wire: Wire) -> None:
    graph = client(wire)
    graph.show_typing(Platform.MESSENGER, "10", "t", SCOPED, "m")
    graph.http.close()
    graph.show_typing(Platform.MESSENGER, "10", "t", SCOPED, "m")


# Real sockets: that httpx reports these faults as the classes above is a part of the promise.

Handle = Callable[[socket.socket], None]


class RawServer:
    """Hands each connection to ``handle`` in a thread of its own."""

    def __init__(self, handle: Handle) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._handle, self._threads = handle, [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._handle(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[[Handle], str]]:
    servers: list[RawServer] = []

    def start(handle: Handle) -> str:
        servers.append(RawServer(handle))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def graph_at() -> Iterator[Callable[..., GraphClient]]:
    clients: list[GraphClient] = []

    def build(url: str, seconds: float = 5.0, http: httpx.Client | None = None) -> GraphClient:
        settings = GraphSettings(meta_graph_url=url, graph_timeout_seconds=seconds)
        clients.append(GraphClient(settings, http))
        return clients[-1]

    yield build
    for one in clients:
        one.http.close()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    length = next(
        int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    while len(rest) < length:
        rest += connection.recv(65536)
    return rest


def closes_at_once(connection: socket.socket) -> None:
    pass


def closes_after_reading(connection: socket.socket) -> None:
    read_request(connection)


def resets(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def breaks_off(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"messages": [')


def talks_nonsense(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"220 smtp ready\r\n")


def stays_silent(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)  # until the client leaves


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "handle", [closes_at_once, closes_after_reading, resets, breaks_off, talks_nonsense, stays_silent]
)
def test_cut_connections_are_unknown(handle: Handle, serve: Any, graph_at: Any) -> None:
    with pytest.raises(UnknownOutcome):
        graph_at(serve(handle), seconds=0.3).send_text(TEXT)


@pytest.mark.enable_socket
def test_nobody_listens(graph_at: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientError):
        graph_at(f"http://127.0.0.1:{port}").send_text(TEXT)


@pytest.mark.enable_socket
def test_a_name_that_does_not_resolve(graph_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(TransientError):
        graph_at("http://graph.invalid").send_text(TEXT)


@pytest.mark.enable_socket
def test_no_free_connection(serve: Any, graph_at: Any) -> None:
    arrived, leave = threading.Event(), threading.Event()

    def holds(connection: socket.socket) -> None:
        read_request(connection)
        arrived.set()
        leave.wait(10)

    timeout = httpx.Timeout(10, pool=0.05)
    narrow = httpx.Client(limits=httpx.Limits(max_connections=1), timeout=timeout)
    graph = graph_at(serve(holds), http=narrow)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(graph.send_text, TEXT)
        assert arrived.wait(10)
        with pytest.raises(TransientError):
            graph.send_text(TEXT)
        leave.set()
        assert isinstance(first.exception(), UnknownOutcome)


@pytest.mark.enable_socket
def test_one_client_serves_two_hundred_threads(serve: Any, graph_at: Any) -> None:
    together = threading.Barrier(200, timeout=20)

    def answers(connection: socket.socket) -> None:
        body = json.loads(read_request(connection))
        together.wait()
        answer = json.dumps({"messages": [{"id": body["biz_opaque_callback_data"]}]}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    graph = graph_at(serve(answers), seconds=20)
    with ThreadPoolExecutor(200) as threads:
        sends = [replace(TEXT, callback_data=f"send-{n}") for n in range(200)]
        assert list(threads.map(graph.send_text, sends)) == [f"send-{n}" for n in range(200)]
