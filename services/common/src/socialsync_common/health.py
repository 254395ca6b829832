"""Probes for processes that serve no HTTP of their own. An answer costs no process, no Redis and no Postgres."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Check = Callable[[], str | None]  # what is wrong, or None


def overdue(what: str, age: float, limit: float) -> str | None:
    """The answer of a check on something that has to pass every now and then; ``age`` and ``limit`` in seconds."""
    return f"{what} has not passed for {age:.0f} s" if age > limit else None


class _DualStack(ThreadingHTTPServer):
    """Pods may have IPv4 addresses, IPv6 ones, or both."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class HealthServer:
    """Answers ``GET /livez`` and the like on all addresses: 200, or 503 with what is wrong."""

    def __init__(self, port: int, checks: Mapping[str, Check]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # seconds between two bytes: a silent client holds no thread for ever

            def do_GET(self) -> None:
                check = checks.get(self.path)
                fault = check() if check else "no such probe"
                content = f"{fault or 'ok'}\n".encode()
                self.send_response(200 if check and not fault else 503 if check else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """A probe is no news."""

        self._server = _DualStack(("", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
