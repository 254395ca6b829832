"""A TCP proxy that can be cut like a cable, and healed."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class CutProxy:
    """Forwards to ``port`` on the loopback address, whose protocol it does not know; one thread a direction."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._whole = threading.Event()
        self._whole.set()
        self._refusing = False
        self._answers_left: int | None = None
        self.answered = threading.Event()  # something, ever
        self.lost_answer = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._drop_all()

    def cut(self, *, refuse: bool = False) -> None:
        """Forward nothing more: bytes vanish and nobody is told, as when packets are dropped.

        ``refuse``: connections are reset instead, those that there are and new ones.
        """
        self._refusing = refuse
        self._whole.clear()
        if refuse:
            self._drop_all()

    def heal(self) -> None:
        """Connections from before the cut are reset: what they lost cannot be made up for."""
        self._drop_all()
        self._refusing = False
        self._whole.set()

    def lose_answer(self, after: int = 0) -> None:
        """Let ``after`` requests through with their answers; of the next one, reset when the answer comes."""
        self.lost_answer.clear()
        with self._lock:
            self._answers_left = after

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            connection = _Connection(self, client, server)
            with self._lock:
                self._connections.add(connection)
            connection.start()

    def _drop_all(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.drop()

    def forget(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)

    def passes(self) -> bool:
        return self._whole.is_set()

    def loses_this_answer(self) -> bool:
        with self._lock:
            if self._answers_left is None:
                return False
            self._answers_left -= 1
            if self._answers_left >= 0:
                return False
            self._answers_left = None
        self.lost_answer.set()
        return True


class _Connection:
    def __init__(self, proxy: CutProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._asked = False  # since the last answer

    def start(self) -> None:
        threading.Thread(target=self._requests, daemon=True).start()
        threading.Thread(target=self._answers, daemon=True).start()

    def drop(self) -> None:
        self._proxy.forget(self)
        for end in (self._client, self._server):
            _reset(end)

    def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(65536):
                if self._proxy.passes():
                    self._asked = True
                    self._server.sendall(data)
        self.drop()

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                first, self._asked = self._asked, False
                if first and self._proxy.loses_this_answer():
                    break
                if self._proxy.passes():
                    self._client.sendall(data)
                    self._proxy.answered.set()
        self.drop()


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
    end.close()
