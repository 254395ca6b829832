"""A TCP proxy that lets a drill act at an exact step: between a statement and its effect, or its answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

When = Literal["before", "after"]


@dataclass
class Trigger:
    """Acts once, when a connection has sent all of ``patterns`` in order.

    ``before``: what matched last is never forwarded. ``after``: it is, and its answer is held back.
    """

    patterns: list[bytes]
    when: When
    action: Callable[[], None]
    fired: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Forwards to ``port`` on the loopback address; one thread a direction."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._trigger: Trigger | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._listener.close()

    def arm(self, patterns: list[bytes], when: When, action: Callable[[], None]) -> Trigger:
        with self._lock:
            self._trigger = Trigger(patterns, when, action)
            return self._trigger

    def disarm(self) -> None:
        with self._lock:
            self._trigger = None

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            _Connection(self, client, server).start()

    def take(self, data: bytes, seen: int) -> tuple[int, Trigger | None]:
        """How many patterns of the armed trigger this connection has shown; the trigger where it shows them all."""
        with self._lock:
            trigger = self._trigger
            if trigger is None:
                return 0, None
            while seen < len(trigger.patterns) and trigger.patterns[seen] in data:
                seen += 1
            if seen < len(trigger.patterns):
                return seen, None
            self._trigger = None
            return 0, trigger


class _Connection:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.held: Trigger | None = None

    def start(self) -> None:
        threading.Thread(target=self._requests, daemon=True).start()
        threading.Thread(target=self._answers, daemon=True).start()

    def _requests(self) -> None:
        seen = 0
        with contextlib.suppress(OSError):
            while data := self.client.recv(65536):
                seen, trigger = self.proxy.take(data, seen)
                if trigger and trigger.when == "before":
                    self._fire(trigger)
                    break
                self.held = trigger
                self.server.sendall(data)
        self._close()

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                if self.held:
                    self._fire(self.held)
                    break
                self.client.sendall(data)
        self._close()

    def _fire(self, trigger: Trigger) -> None:
        trigger.action()
        trigger.fired.set()

    def _close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
