"""An HTTP load generator that costs little itself: raw asyncio protocols, bodies signed beforehand.

``closed``: each connection sends its next request when the last one is answered (peak).
``open``: requests leave at a fixed rate whatever the answers do, and latency counts from when each was due.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import random
import sys
import time
from collections import deque
from typing import Any

import orjson
import uvloop

SECRET = b"bench-app-secret"


def whatsapp_body(account: str, contact: str, message_id: str, text: str, now: int) -> bytes:
    return orjson.dumps(
        {
            "object": "whatsapp_business_account",
            "entry": [
                {
                    "id": "1",
                    "changes": [
                        {
                            "field": "messages",
                            "value": {
                                "messaging_product": "whatsapp",
                                "metadata": {
                                    "display_phone_number": "15550000000",
                                    "phone_number_id": account,
                                },
                                "contacts": [{"profile": {"name": "Ada"}, "wa_id": contact}],
                                "messages": [
                                    {
                                        "from": contact,
                                        "id": message_id,
                                        "timestamp": str(now),
                                        "type": "text",
                                        "text": {"body": text},
                                    }
                                ],
                            },
                        }
                    ],
                }
            ],
        }
    )


def request_bytes(path: str, body: bytes, secret: bytes = SECRET) -> bytes:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def make_requests(count: int, accounts: list[str], contacts: int, run: str) -> list[bytes]:
    """``count`` signed deliveries of one message each, spread over accounts and contacts."""
    chance, now = random.Random(7), int(time.time())
    made = []
    for n in range(count):
        contact = str(33_600_000_000 + chance.randrange(contacts))
        account = accounts[int(contact) % len(accounts)]
        body = whatsapp_body(account, contact, f"wamid.{run}.{n}", "Hello, when do you open on Sunday?", now)
        made.append(request_bytes("/api/whatsapp/webhook", body))
    return made


class _Client(asyncio.Protocol):
    """One keep-alive connection; answers have no body or a Content-Length body, which is skipped."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.started: deque[float] = deque()
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(exc)

    def send(self, request: bytes, due: float) -> None:
        self.started.append(due)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            status = int(self.buffer[9:12])
            self.buffer = self.buffer[end + 4 + length :]
            self.load.answered(self, status, self.started.popleft())


class Load:
    """A run over prepared requests."""

    def __init__(self, requests: list[bytes], connections: int, rate: float | None) -> None:
        self.requests = iter(requests)
        self.total = len(requests)
        self.connections = connections
        self.rate = rate
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.done = asyncio.Event()
        self.fault: Exception | None = None

    def answered(self, client: _Client, status: int, due: float) -> None:
        self.latencies.append(time.perf_counter() - due)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if len(self.latencies) >= self.total:
            self.done.set()
        elif self.rate is None:
            self.next(client)

    def lost(self, error: Exception | None) -> None:
        if not self.done.is_set():
            self.fault = RuntimeError(f"the server closed a connection: {error}")
            self.done.set()

    def next(self, client: _Client, due: float | None = None) -> None:
        request = next(self.requests, None)
        if request is not None:
            client.send(request, due or time.perf_counter())

    async def run(self, host: str, port: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: _Client(self), host, port))[1]
            for _ in range(self.connections)
        ]
        start = time.perf_counter()
        if self.rate is None:
            for client in clients:
                self.next(client)
        else:
            await self._pace(clients, start)
        await asyncio.wait_for(self.done.wait(), 120)
        if self.fault:
            raise self.fault
        seconds = time.perf_counter() - start
        for client in clients:
            client.transport.close()
        ordered = sorted(self.latencies)
        return {
            "requests": self.total,
            "requests_per_second": round(self.total / seconds, 1),
            "p50_ms": round(1000 * ordered[len(ordered) // 2], 2),
            "p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 2),
            "max_ms": round(1000 * ordered[-1], 2),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }

    async def _pace(self, clients: list[_Client], start: float) -> None:
        sent = 0
        while sent < self.total and not self.fault:
            due_by_now = min(self.total, int((time.perf_counter() - start) * self.rate) + 1)
            while sent < due_by_now:
                self.next(clients[sent % len(clients)], start + sent / self.rate)
                sent += 1
            await asyncio.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--accounts", required=True, help="comma-separated phone number ids")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--contacts", type=int, default=5_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, default=None, help="requests/s; none: as fast as answers come")
    parser.add_argument("--run", default=None)
    options = parser.parse_args()
    run = options.run or f"{time.time_ns():x}"
    requests = make_requests(options.requests, options.accounts.split(","), options.contacts, run)
    report = uvloop.run(Load(requests, options.connections, options.rate).run(options.host, options.port))
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
