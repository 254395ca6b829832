"""A sandbox and a tiny real gateway, joined in process."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_sandbox.app import create_app
from socialsync_sandbox.sandbox import Sandbox
from socialsync_sandbox.settings import SandboxSettings

SECRET = "app-secret"
TOKEN = "t"
INSTAGRAM_SECRET = "instagram-app-secret"


@dataclass
class Gateway:
    """Records what it was sent; ``answers`` are the statuses of the next posts, then 200. ``files``: media to fetch."""

    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    files: dict[str, bytes] = field(default_factory=dict)
    may_fetch: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_fetch.set()

    async def medium(self, request: Request) -> Response:
        """Files wait for ``may_fetch``."""
        await self.may_fetch.wait()
        content = self.files.get(request.path_params["name"])
        return Response(content or b"", 404 if content is None else 200)

    async def webhook(self, request: Request) -> Response:
        raw = await request.body()
        expected = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        if request.headers["x-hub-signature-256"] != expected:
            return Response(status_code=401)
        status = self.answers.popleft() if self.answers else 200
        if status == 200:
            self.received.append((request.path_params["platform"], orjson.loads(raw)))
            self.wake.set()
        return Response(status_code=status)

    @property
    def values(self) -> list[dict[str, Any]]:
        """WhatsApp: the value of each change."""
        return [c["value"] for _, body in self.received for e in body["entry"] for c in e["changes"]]

    @property
    def messaging(self) -> list[dict[str, Any]]:
        return [item for _, body in self.received for e in body["entry"] for item in e["messaging"]]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.received) < count:
                self.wake.clear()
                await self.wake.wait()


@dataclass
class Meta:
    """The sandbox as a client of the Graph API, and as its tests, see it."""

    http: httpx.AsyncClient
    sandbox: Sandbox

    async def graph(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str = TOKEN, **query: Any
    ) -> Any:
        """A call that is accepted; returns its answer."""
        answer = await self.ask(method, path, body, token, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str = TOKEN, **query: Any
    ) -> tuple[int, int, int | None]:
        """A call that is not: its status, code and subcode."""
        answer = await self.ask(method, path, body, token, **query)
        error = answer.json()["error"]
        return answer.status_code, error["code"], error.get("error_subcode")

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str = TOKEN, **query: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.request(method, f"/v24.0/{path}", json=body, headers=headers, params=query)

    async def send(self, account: str, body: dict[str, Any], token: str = "t") -> httpx.Response:  # noqa: S107
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.post(f"/v24.0/{account}/messages", json=body, headers=headers)

    async def whatsapp(self, to: str, text: str, **more: Any) -> httpx.Response:
        body = {"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": text}, **more}
        return await self.send("5550001", body)

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(f"/sandbox/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def delete(self, path: str, **query: Any) -> None:
        answer = await self.http.delete(f"/sandbox/{path}", params=query)
        assert answer.status_code == 200, answer.text

    async def until_node(self, node: str, field: str, fits: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(5):
            while True:
                if fits((await self.graph("GET", node, fields=field))[field]):
                    return
                await asyncio.sleep(0.001)

    async def until(self, path: str, fits: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(5):
            while True:
                if fits(await self.get(path)):
                    return
                await asyncio.sleep(0.001)

    async def settled(self) -> None:
        await self.until("pending", lambda deliveries: not deliveries["pending"])


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def meta(gateway: Gateway) -> AsyncIterator[Meta]:
    receiver = Starlette(
        routes=[
            Route("/api/{platform}/webhook", gateway.webhook, methods=["POST"]),
            Route("/media/{name}", gateway.medium),
        ]
    )
    settings = SandboxSettings(
        meta_app_secret=SECRET, instagram_app_secret=INSTAGRAM_SECRET, sandbox_gateway_url="http://gateway"
    )
    app = create_app(settings, httpx.AsyncClient(transport=httpx.ASGITransport(receiver)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
        yield Meta(http, app.state.sandbox)
    await app.state.sandbox.close()
