"""Probes over HTTP: what they answer, to whom, and that nobody can keep the server from answering."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest

from socialsync_common.health import HealthServer

pytestmark = pytest.mark.enable_socket

HERE = "127.0.0.1"


class Process:
    """Something to probe, with what is wrong with it."""

    fault: str | None = None

    def stuck(self) -> str | None:
        return self.fault


@pytest.fixture(scope="module")
def process() -> Process:
    return Process()


@pytest.fixture(scope="module")
def server(process: Process) -> Iterator[HealthServer]:
    server = HealthServer(0, {"/livez": process.stuck, "/readyz": lambda: None})
    server.start()
    yield server
    server.stop()


def ask(server: HealthServer, path: str, method: str = "GET", host: str = HERE) -> tuple[int, str]:
    connection = HTTPConnection(host, server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_healthy_is_200(server: HealthServer) -> None:
    assert ask(server, "/livez") == (200, "ok\n")
    assert ask(server, "/readyz") == (200, "ok\n")


def test_a_fault_is_503_and_says_what_for_as_long_as_it_lasts(server: HealthServer, process: Process) -> None:
    process.fault = "the consumer has not passed for 61 s"
    assert ask(server, "/livez") == (503, "the consumer has not passed for 61 s\n")
    assert ask(server, "/readyz") == (200, "ok\n")
    process.fault = None
    assert ask(server, "/livez") == (200, "ok\n")


@pytest.mark.parametrize("path", ["/", "/livez/", "/healthz", "/livez?verbose", "/../livez"])
def test_another_path_is_404(server: HealthServer, path: str) -> None:
    assert ask(server, path) == (404, "no such probe\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_but_get_is_served(server: HealthServer, method: str) -> None:
    assert ask(server, "/livez", method)[0] == 501


def test_a_probe_is_no_news(server: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    ask(server, "/livez")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_pods_with_ipv6_addresses_answer_too(server: HealthServer) -> None:
    assert ask(server, "/livez", host="::1") == (200, "ok\n")


def test_many_at_a_time_are_answered(server: HealthServer) -> None:
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: ask(server, "/livez"), range(100)))
    assert set(answers) == {(200, "ok\n")}


@pytest.mark.parametrize("sent", [b"", b"GET /livez", b"GET /livez HTTP/1.1\r\nHost: a\r\n"])
def test_a_client_that_says_no_more_holds_up_nobody_and_is_left(
    server: HealthServer, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler: Any = server._server.RequestHandlerClass
    assert 0 < handler.timeout <= 10
    monkeypatch.setattr(handler, "timeout", 0.2)
    with socket.create_connection((HERE, server.port), timeout=10) as silent:
        silent.sendall(sent)
        assert ask(server, "/livez") == (200, "ok\n")
        assert silent.recv(1) == b""


def test_the_port_is_free_again_when_it_is_stopped() -> None:
    first = HealthServer(0, {})
    first.start()
    first.stop()
    second = HealthServer(first.port, {"/livez": lambda: None})
    second.start()
    assert ask(second, "/livez") == (200, "ok\n")
    second.stop()


def test_a_port_that_is_taken_ends_the_start(server: HealthServer) -> None:
    with pytest.raises(OSError, match="in use"):
        HealthServer(server.port, {})
