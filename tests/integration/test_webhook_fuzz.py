"""Bodies that nobody should send: whatever they hold, the gateway answers, and not with a 5xx."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries import change, deliver, messaging, text, whatsapp
from socialsync_gateway.app import GatewaySettings, create_app
from support import Databases, Tenant, running

pytestmark = pytest.mark.integration

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
IMAGE = {"type": "image", "image": {"id": "1", "mime_type": "image/jpeg", "caption": "Look"}}
BODIES: list[tuple[str, Any]] = [
    (
        "whatsapp",
        whatsapp(
            change("100", contacts=[{"wa_id": "336", "profile": {"name": "Ada"}}], messages=[text("m1")])
        ),
    ),
    (
        "whatsapp",
        whatsapp(change("100", messages=[{**text("m2"), **IMAGE}]), change("200", messages=[text("m3")])),
    ),
    ("whatsapp", whatsapp(change("100", statuses=[{"id": "m4", "status": "delivered", "timestamp": "1"}]))),
    ("whatsapp", whatsapp(change("100", "smb_message_echoes", message_echoes=[{**text("m5"), "to": "336"}]))),
    (
        "instagram",
        messaging("101", {"message": {"mid": "i1", "text": "hi", "attachments": [{"type": "image"}]}}),
    ),
    ("instagram", messaging("101", {"message": {"mid": "i2", "text": "hi", "is_echo": True}}, echo=True)),
    ("messenger", {**messaging("102", {"postback": {"title": "Start", "payload": "GO"}}), "object": "page"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each value inside ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Any]:
    """A realistic body in which one to three values are replaced or dropped."""
    platform, original = draw(st.sampled_from(BODIES))
    body = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(body)))
        if not path:
            return platform, draw(JSON)
        parent = body
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[path[-1]] = draw(JSON)
        else:
            del parent[path[-1]]
    return platform, body


def test_no_body_gives_a_server_error(
    environment: dict[str, str], tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    app = create_app(GatewaySettings.load())
    with asyncio.Runner() as runner:
        lifespan = running(app)
        runner.run(lifespan.__aenter__())
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(mutated() | st.tuples(st.sampled_from(["whatsapp", "instagram", "messenger"]), JSON))
        def check(case: tuple[str, Any]) -> None:
            platform, body = case
            raw = json.dumps(body).encode("utf-8", "surrogatepass")
            response = runner.run(deliver(client, raw, platform))
            assert response.status_code == 200, response.text
            # nothing that got 200 may be missing: each item is a row, or says why it is none
            assert all(item["stored"] or item["reason"] for item in response.json()["items"])

        @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(st.binary(max_size=200), st.binary(max_size=80))
        def check_raw(body: bytes, signature: bytes) -> None:
            response = runner.run(deliver(client, body))
            assert response.status_code in (200, 400)
            headers = {"X-Hub-Signature-256": signature.replace(b"\r", b"").replace(b"\n", b"")}
            unsigned = runner.run(client.post("/api/whatsapp/webhook", content=body, headers=headers))
            assert unsigned.status_code == 401

        try:
            check()
            check_raw()
        finally:
            runner.run(client.aclose())
            runner.run(lifespan.__aexit__(None, None, None))
