"""The gateway's server parts from its clients politely: no request is lost on a connection that is closed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import httpx
import pytest

from socialsync_cli.processes import free_port
from stack import until

pytestmark = pytest.mark.integration

PROGRAM = """
import sys, uvicorn
from socialsync_gateway.draining import DrainingServer

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

config = uvicorn.Config(app, port=int(sys.argv[1]), http="httptools", lifespan="off", log_level="error", date_header=False)
DrainingServer(config, float(sys.argv[2])).run()
"""


def test_requests_on_kept_connections_are_answered_while_the_server_stops() -> None:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port), "1.5"])
    faults: list[Exception] = []
    closed, stopping, done = threading.Event(), threading.Event(), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            while not done.is_set():
                try:
                    answer = client.get("/")
                except httpx.ConnectError:
                    return  # a new connection is refused: where it goes is not this server's business any more
                except httpx.TransportError as error:
                    faults.append(error)
                    return
                if answer.headers.get("connection") == "close":
                    assert stopping.is_set()
                    closed.set()
                    return

    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).is_success, 20, "it serves")
        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        stopping.set()
        server.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(10)
        assert closed.is_set()
        assert not faults
        assert server.poll() is None  # it still serves those that come
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "ok"
        assert server.wait(10) == 0
    finally:
        done.set()
        server.kill()
        server.wait()


def test_a_second_signal_ends_the_wait() -> None:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port), "60"])
    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).is_success, 20, "it serves")
        server.send_signal(signal.SIGTERM)

        def parts() -> bool:
            return (
                httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).headers.get("connection") == "close"
            )

        until(parts, 10, "it says that it stops")
        server.send_signal(signal.SIGTERM)
        server.wait(10)
    finally:
        server.kill()
        server.wait()
