"""WhatsApp numbers are connected by a token that Meta is asked about, and accounts say how they are."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sandbox_process import MetaSandbox, sandbox_process
from socialsync_common.platforms.login import LoginClient
from socialsync_common.settings import GraphSettings, LoginSettings
from socialsync_gateway.accounts.connector import Connector
from support import TEST_SECRETS

pytestmark = pytest.mark.integration

TOKEN = "EAAG-system-user"
NUMBER = {"external_id": "1055", "business_account_id": "8800", "token": TOKEN}


@pytest.fixture(scope="module")
def meta() -> Iterator[MetaSandbox]:
    with sandbox_process() as sandbox:
        yield sandbox


@pytest.fixture
async def numbers(world: Any, meta: MetaSandbox) -> AsyncIterator[Any]:
    meta.control("DELETE", "state")
    meta.account("whatsapp", "1055", TOKEN, name="Bakery number", business_account_id="8800")
    client = LoginClient(
        GraphSettings(meta_graph_url=meta.url, meta_app_secret=TEST_SECRETS["META_APP_SECRET"]),
        LoginSettings(),
    )
    world.app.state.connector = Connector(world.us.cipher, client)
    yield world
    client.close()


def stored(world: Any) -> dict[str, Any] | None:
    row: dict[str, Any] | None = world.us.owner.execute(
        "SELECT * FROM accounts WHERE external_id = '1055'"
    ).fetchone()
    return row


def pointers(response: httpx.Response) -> list[str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return [error["pointer"] for error in response.json()["errors"]]


async def test_a_number_is_connected(numbers: Any, meta: MetaSandbox) -> None:
    ends = (datetime.now(UTC) + timedelta(days=60)).replace(microsecond=0)
    response = await numbers.post(
        "/api/v1/accounts", {**NUMBER, "instructions": "Be kind", "token_expires_at": ends.isoformat()}
    )
    assert response.status_code == 201, response.text
    row = stored(numbers)
    assert row
    assert response.json() == {
        "id": str(row["id"]), "platform": "whatsapp", "external_id": "1055", "name": "Bakery number",
        "instructions": "Be kind", "status": "active", "status_reason": None,
        "created_at": row["created_at"].isoformat().replace("+00:00", "Z"),
        "token_expires_at": ends.isoformat().replace("+00:00", "Z"),
        "subscribed": True, "quota": None, "fault": None,
    }  # fmt: skip
    assert (row["tenant_id"], row["business_account_id"]) == (numbers.us.id, "8800")
    assert numbers.us.cipher.decrypt(row["token"], row["tenant_id"], row["id"]) == TOKEN
    assert "8800" in meta.subscriptions()
    assert meta.control("GET", "posts/counts")["without_proof"] == 0
    shown = {
        item["external_id"] for item in (await numbers.get("/api/v1/accounts", numbers.them)).json()["items"]
    }
    assert "1055" not in shown


async def test_a_new_token_for_a_known_number(numbers: Any, meta: MetaSandbox) -> None:
    first = await numbers.post("/api/v1/accounts", {**NUMBER, "name": "Ours", "instructions": "Be kind"})
    assert first.status_code == 201
    numbers.us.owner.execute("UPDATE accounts SET status = 'needs_reconnect' WHERE external_id = '1055'")
    meta.account("whatsapp", "1055", "EAAG-newer", name="Bakery number", business_account_id="8800")
    again = await numbers.post("/api/v1/accounts", {**NUMBER, "token": "EAAG-newer"})
    assert again.status_code == 200, again.text
    assert again.json()["id"] == first.json()["id"]
    assert (again.json()["status"], again.json()["instructions"]) == ("active", "Be kind")
    row = stored(numbers)
    assert row
    assert numbers.us.cipher.decrypt(row["token"], row["tenant_id"], row["id"]) == "EAAG-newer"


async def test_a_number_of_another_tenant(numbers: Any) -> None:
    assert (await numbers.post("/api/v1/accounts", NUMBER, numbers.them)).status_code == 201
    taken = await numbers.post("/api/v1/accounts", NUMBER)
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:socialsync:problem:account-taken")
    row = stored(numbers)
    assert row
    assert row["tenant_id"] == numbers.them.id


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([("number", "expired_token"), ("subscribe", "expired_token")], ["/body/token"]),
        ([("number", "unreadable")], ["/body/external_id"]),
        ([("subscribe", "unreadable")], ["/body/business_account_id"]),
        ([("number", "unreadable"), ("subscribe", "unreadable")], ["/body/external_id", "/body/business_account_id"]),
        ([("number", "permission")], ["/body/token"]),
    ],
)  # fmt: skip
async def test_what_meta_refuses_is_pointed_at(
    numbers: Any, meta: MetaSandbox, faults: list[tuple[str, str]], expected: list[str]
) -> None:
    for step, kind in faults:
        meta.fault(step, kind)
    response = await numbers.post("/api/v1/accounts", NUMBER)
    assert pointers(response) == expected
    assert TOKEN not in response.text
    assert stored(numbers) is None


async def test_an_id_that_is_no_number(numbers: Any) -> None:
    assert "/body/external_id" in pointers(
        await numbers.post("/api/v1/accounts", {**NUMBER, "external_id": "1056"})
    )


async def test_without_meta_nothing_is_connected(numbers: Any, meta: MetaSandbox) -> None:
    meta.fault("number", "server_error")
    response = await numbers.post("/api/v1/accounts", NUMBER)
    assert (response.status_code, response.json()["type"]) == (502, "urn:socialsync:problem:meta-away")
    assert stored(numbers) is None


async def test_a_slow_meta_does_not_hold_the_caller(
    numbers: Any, meta: MetaSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socialsync_gateway.accounts.connector.MAX_META_SECONDS", 0.2)
    meta.fault("number", "slow", seconds=2)
    response = await numbers.post("/api/v1/accounts", NUMBER)
    assert (response.status_code, response.json()["type"]) == (502, "urn:socialsync:problem:meta-away")
    assert "in time" in response.json()["detail"]
    assert stored(numbers) is None


async def test_every_fault_of_a_request_is_listed_and_no_token_is_shown(numbers: Any) -> None:
    bad = {
        "external_id": "+33 1", "business_account_id": "", "token": "EAAG secret", "name": "two\nlines",
        "token_expires_at": "2027-01-01T00:00:00", "colour": "red",
    }  # fmt: skip
    response = await numbers.post("/api/v1/accounts", bad)
    assert sorted(pointers(response)) == [f"/body/{name}" for name in sorted(bad)]
    assert "secret" not in response.text


async def test_no_token_shows(
    numbers: Any, meta: MetaSandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []
    for kind in ("expired_token", "permission", "server_error", None):
        if kind:
            meta.fault("number", kind)
        texts.append((await numbers.post("/api/v1/accounts", NUMBER)).text)
    texts.append((await numbers.get("/api/v1/accounts")).text)
    output = capfd.readouterr()
    assert "accounts connected" in output.out + output.err + caplog.text
    assert TOKEN not in "\n".join([*texts, caplog.text, output.out, output.err])


async def test_accounts_say_how_they_are(numbers: Any) -> None:
    numbers.us.owner.execute(
        "UPDATE accounts SET quota_used = 3, quota_total = 100, quota_read_at = '2026-11-24T12:00:00Z', subscribed = false, "
        "token_expires_at = '2026-12-24T12:00:00Z' WHERE tenant_id = %s AND platform = 'instagram'",
        (numbers.us.id,),
    )
    items = (await numbers.get("/api/v1/accounts")).json()["items"]
    by_platform = {item["platform"]: item for item in items}
    instagram, page = by_platform["instagram"], by_platform["messenger"]
    assert instagram["quota"] == {"used": 3, "total": 100, "read_at": "2026-11-24T12:00:00Z"}
    assert (instagram["token_expires_at"], instagram["subscribed"]) == ("2026-12-24T12:00:00Z", False)
    assert (page["quota"], page["token_expires_at"], page["subscribed"]) == (None, None, None)
