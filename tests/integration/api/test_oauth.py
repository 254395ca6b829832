"""Logins that connect accounts, from the start to the page that the browser shows, against the sandbox's login."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from sandbox_process import MetaSandbox, sandbox_process
from socialsync_common.accounts import create_api_key, load_account, stop_account
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.platforms.login import INSTAGRAM_FIELDS, PAGE_FIELDS, LoginClient
from socialsync_common.settings import EncryptionSettings, GraphSettings, LoginSettings
from socialsync_gateway.accounts.connector import Connector
from socialsync_gateway.auth import AuthSettings
from socialsync_gateway.oauth import oauth_router
from support import TEST_SECRETS, Databases, eventually

pytestmark = pytest.mark.integration

PUBLIC_URL = "https://social.example"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
APPS = {
    "meta_app_id": "1000000000000001",
    "meta_app_secret": TEST_SECRETS["META_APP_SECRET"],
    "instagram_app_id": "1000000000000001",
    "instagram_app_secret": TEST_SECRETS["INSTAGRAM_APP_SECRET"],
}


@pytest.fixture(scope="module")
def meta() -> Iterator[MetaSandbox]:
    with sandbox_process() as sandbox:
        yield sandbox


@dataclass
class Logins:
    """A browser without anything, the API's callers, and Meta."""

    world: Any
    meta: MetaSandbox
    browser: httpx.AsyncClient

    async def start(self, login: str = "instagram", **headers: str) -> httpx.Response:
        return await self.browser.get(
            f"/api/oauth/{login}/start", headers={**self.world.us.headers, **headers}
        )

    async def begin(self, login: str = "instagram") -> str:
        response = await self.start(login)
        assert response.status_code == 200, response.text
        url: str = response.json()["authorization_url"]
        return url

    async def back(self, query: dict[str, str], login: str = "instagram", **headers: str) -> httpx.Response:
        return await self.browser.get(f"/api/oauth/{login}/callback", params=query, headers=headers)

    async def log_in(self, choice: str, login: str = "instagram", **headers: str) -> httpx.Response:
        return await self.back(self.meta.consent(await self.begin(login), choice), login, **headers)

    def stored(self, external_id: str) -> dict[str, Any] | None:
        return self.world.us.owner.execute(  # type: ignore[no-any-return]
            "SELECT * FROM accounts WHERE external_id = %s", (external_id,)
        ).fetchone()

    def token(self, external_id: str) -> str:
        row = self.stored(external_id)
        assert row
        opened: str = self.world.us.cipher.decrypt(row["token"], row["tenant_id"], row["id"])
        return opened


@pytest.fixture
async def logins(world: Any, meta: MetaSandbox) -> AsyncIterator[Logins]:
    meta.control("DELETE", "state")
    meta.account("instagram", "17841001", "ig-1", name="bakery")
    meta.account("messenger", "9001", "page-1", name="Bakery Page")
    meta.account("messenger", "9002", "page-2", name="Bread <b>& more</b>")
    client = LoginClient(GraphSettings(meta_graph_url=meta.url, meta_app_secret=APPS["meta_app_secret"]), LoginSettings(**APPS))  # fmt: skip
    world.app.state.connector = Connector(world.us.cipher, client)
    world.app.include_router(oauth_router(PUBLIC_URL, AuthSettings()))
    transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as browser:
        yield Logins(world, meta, browser)
    client.close()


async def test_an_instagram_account_is_connected(logins: Logins) -> None:
    started = await logins.start()
    assert started.status_code == 200
    assert started.headers["cache-control"] == "no-store"
    left = datetime.fromisoformat(started.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=590) < left <= timedelta(seconds=600)
    cookie = started.headers["set-cookie"]
    assert cookie.startswith("socialsync_oauth=")
    assert {"HttpOnly", "Max-Age=600", "Path=/api/oauth", "SameSite=lax", "Secure"} <= set(cookie.split("; "))

    query = logins.meta.consent(started.json()["authorization_url"], "allow:17841001")
    response = await logins.back(query)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    (account,) = response.json()["accounts"]
    row = logins.stored("17841001")
    assert row
    assert account == {
        "id": str(row["id"]), "platform": "instagram", "external_id": "17841001", "name": "bakery",
        "is_new": True, "subscribed": True, "fault": None,
    }  # fmt: skip
    assert (row["tenant_id"], row["status"], row["subscribed"]) == (logins.world.us.id, "active", True)
    assert timedelta(days=59) < row["token_expires_at"] - datetime.now(UTC) <= timedelta(days=60)
    assert row["checked_at"] is not None
    assert set(INSTAGRAM_FIELDS) <= set(logins.meta.subscriptions()["17841001"])
    assert logins.token("17841001") not in ("", "ig-1")

    ours = (await logins.world.get("/api/v1/accounts")).json()["items"]
    theirs = (await logins.world.get("/api/v1/accounts", logins.world.them)).json()["items"]
    (shown,) = (item for item in ours if item["external_id"] == "17841001")
    assert shown["subscribed"] is True
    assert shown["quota"] is None
    assert datetime.fromisoformat(shown["token_expires_at"]) == row["token_expires_at"]
    assert "17841001" not in {item["external_id"] for item in theirs}


async def test_all_pages_of_a_login_are_connected(logins: Logins) -> None:
    response = await logins.log_in("allow:9001,9002", "facebook")
    assert response.status_code == 200, response.text
    assert {one["external_id"] for one in response.json()["accounts"]} == {"9001", "9002"}
    for page in ("9001", "9002"):
        row = logins.stored(page)
        assert row
        assert (row["platform"], row["token_expires_at"], row["subscribed"]) == ("messenger", None, True)
        assert set(PAGE_FIELDS) <= set(logins.meta.subscriptions()[page])
    assert logins.meta.control("GET", "posts/counts")["without_proof"] == 0


async def test_browsers_see_a_page(logins: Logins) -> None:
    response = await logins.log_in("allow:9001,9002", "facebook", **BROWSER)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "Bread &lt;b&gt;&amp; more&lt;/b&gt;" in response.text
    assert "<b>" not in response.text

    refused = await logins.back({"state": "<script>", "code": "x"}, **BROWSER)
    assert refused.status_code == 400
    assert "Not connected" in refused.text
    assert "<script>" not in refused.text


async def test_a_state_works_once(logins: Logins) -> None:
    first = logins.meta.consent(await logins.begin(), "allow:17841001")
    second = logins.meta.consent(await logins.begin(), "allow:17841001")
    assert (await logins.back(first)).status_code == 200
    token = logins.token("17841001")
    replayed = await logins.back(first)
    assert (replayed.status_code, replayed.json()["type"]) == (400, "urn:socialsync:problem:oauth-state")
    # with another login's code it is no better
    assert (await logins.back({**first, "code": second["code"]})).status_code == 400
    assert logins.token("17841001") == token


async def test_a_state_ends_after_ten_minutes(logins: Logins) -> None:
    query = logins.meta.consent(await logins.begin(), "allow:17841001")
    logins.world.us.owner.execute("UPDATE oauth_states SET expires_at = now()")
    assert (await logins.back(query)).json()["type"] == "urn:socialsync:problem:oauth-state"
    assert logins.stored("17841001") is None
    await logins.begin()
    assert logins.world.us.one("SELECT count(*) AS n FROM oauth_states")["n"] == 1  # old ones are forgotten


@pytest.mark.parametrize("missing", ["state", "code"])
async def test_what_is_missing_is_said(logins: Logins, missing: str) -> None:
    query = logins.meta.consent(await logins.begin(), "allow:17841001")
    del query[missing]
    response = await logins.back(query)
    assert response.status_code == 400
    assert missing in response.json()["detail"]
    assert logins.stored("17841001") is None


async def test_the_state_of_another_login_is_refused(logins: Logins) -> None:
    query = logins.meta.consent(await logins.begin("facebook"), "allow:9001")
    assert (await logins.back(query, "instagram")).status_code == 400
    assert (await logins.back(query, "facebook")).status_code == 200


async def test_another_browser_cannot_finish_but_the_same_caller_can(logins: Logins) -> None:
    query = logins.meta.consent(await logins.begin(), "allow:17841001")
    logins.browser.cookies.clear()
    us, them = logins.world.us, logins.world.them
    with logins.world.us.owner.transaction():
        colleague = create_api_key(us.owner, us.id, "another key of the tenant")
    for stranger in ({}, them.headers, {"Authorization": f"Bearer {colleague}"}):
        refused = await logins.back(query, **stranger)
        assert (refused.status_code, refused.json()["type"]) == (400, "urn:socialsync:problem:oauth-state")
    logins.browser.cookies.set("socialsync_oauth", "A" * 43, domain="social.example", path="/api/oauth")
    assert (await logins.back(query)).status_code == 400
    refused = await logins.back(query, Authorization="Bearer ssk_unknown")
    assert refused.status_code == 401
    assert logins.stored("17841001") is None
    # none of that has used it up
    assert (await logins.back(query, **us.headers)).status_code == 200


async def test_two_logins_of_one_browser_do_not_disturb_each_other(logins: Logins) -> None:
    instagram = logins.meta.consent(await logins.begin("instagram"), "allow:17841001")
    facebook = logins.meta.consent(await logins.begin("facebook"), "allow:9001")
    assert (await logins.back(instagram, "instagram")).status_code == 200
    assert (await logins.back(facebook, "facebook")).status_code == 200


async def test_only_hashes_are_kept(logins: Logins) -> None:
    response = await logins.start()
    state = dict(httpx.URL(response.json()["authorization_url"]).params)["state"]
    assert len(state) == 43
    row = logins.world.us.one("SELECT o::text AS all FROM oauth_states o")
    for secret in (state, response.cookies["socialsync_oauth"], logins.world.us.headers["Authorization"][7:]):
        assert secret not in row["all"]


async def test_who_declines_is_told(logins: Logins) -> None:
    query = logins.meta.consent(await logins.begin(), "deny")
    response = await logins.back(query)
    assert (response.status_code, response.json()["type"]) == (403, "urn:socialsync:problem:oauth-declined")
    assert (await logins.back(query)).json()["type"] == "urn:socialsync:problem:oauth-state"
    page = await logins.log_in("deny", "facebook", **BROWSER)
    assert page.status_code == 403
    assert "was not given the consent" in page.text


@pytest.mark.parametrize(
    ("login", "choice", "step", "kind", "status"),
    [
        ("instagram", "allow:17841001", "exchange", "server_error", 502),
        ("instagram", "allow:17841001", "me", "expired_token", 400),
        ("facebook", "allow:9001", "exchange", "throttled", 502),
        ("facebook", "allow:9001", "pages", "server_error", 502),
        ("facebook", "allow:9001", "pages", "permission", 400),
    ],
)
async def test_a_login_that_fails_stores_nothing(
    logins: Logins, login: str, choice: str, step: str, kind: str, status: int
) -> None:
    before = logins.world.us.one("SELECT count(*) AS n FROM accounts")["n"]
    query = logins.meta.consent(await logins.begin(login), choice)
    logins.meta.fault(step, kind)
    response = await logins.back(query, login)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "start the login again" in response.json()["detail"]
    assert logins.world.us.one("SELECT count(*) AS n FROM accounts")["n"] == before
    assert (await logins.log_in(choice, login)).status_code == 200


async def test_a_code_that_meta_does_not_know(logins: Logins) -> None:
    query = logins.meta.consent(await logins.begin(), "allow:17841001")
    response = await logins.back({**query, "code": "made-up-by-somebody"})
    assert (response.status_code, response.json()["type"]) == (400, "urn:socialsync:problem:oauth-refused")
    assert "made-up" not in response.text


async def test_a_login_without_pages_is_told(logins: Logins) -> None:
    logins.meta.control("DELETE", "state")
    response = await logins.log_in("allow:", "facebook")
    assert (response.status_code, response.json()["type"]) == (400, "urn:socialsync:problem:oauth-no-pages")


async def test_an_account_of_another_tenant_stops_the_whole_login(logins: Logins) -> None:
    theirs = logins.world.them
    logins.world.them.owner.execute(
        "INSERT INTO accounts (id, tenant_id, platform, external_id, name, token) VALUES (gen_random_uuid(), %s, 'messenger', '9002', 'Theirs', 'x')",
        (theirs.id,),
    )
    response = await logins.log_in("allow:9001,9002", "facebook")
    assert (response.status_code, response.json()["type"]) == (409, "urn:socialsync:problem:account-taken")
    assert "9002" in response.json()["detail"]
    assert "Theirs" not in response.text
    assert logins.stored("9001") is None
    row = logins.stored("9002")
    assert row
    assert (row["tenant_id"], bytes(row["token"])) == (theirs.id, b"x")
    assert "9001" not in logins.meta.subscriptions()


async def test_a_subscription_that_fails_is_shown_and_left_to_the_daily_care(logins: Logins) -> None:
    query = logins.meta.consent(await logins.begin("facebook"), "allow:9001,9002")
    logins.meta.fault("subscribe", "server_error", account="9001")
    response = await logins.back(query, "facebook")
    assert response.status_code == 200
    by_id = {one["external_id"]: one for one in response.json()["accounts"]}
    assert by_id["9001"]["subscribed"] is False
    assert by_id["9001"]["fault"]
    assert by_id["9002"] == {**by_id["9002"], "subscribed": True, "fault": None}
    row = logins.stored("9001")
    assert row
    assert (row["status"], row["subscribed"], row["checked_at"]) == ("active", False, None)


async def test_logging_in_again_makes_a_stopped_account_work(logins: Logins) -> None:
    await logins.log_in("allow:17841001")
    owner = logins.world.us.owner
    row = logins.stored("17841001")
    assert row
    owner.execute(
        "UPDATE accounts SET status = 'needs_reconnect', status_reason = 'x', instructions = 'Be kind' WHERE id = %s",
        (row["id"],),
    )
    for kind in ("needs_reconnect", "token_expires", "post_failed"):
        owner.execute(
            "INSERT INTO notices (tenant_id, account_id, kind, message, key) VALUES (%s, %s, %s, 'm', %s)",
            (logins.world.us.id, row["id"], kind, kind),
        )
    response = await logins.log_in("allow:17841001")
    assert response.json()["accounts"][0]["is_new"] is False
    now = logins.stored("17841001")
    assert now
    assert (now["status"], now["status_reason"], now["instructions"]) == ("active", None, "Be kind")
    assert now["token_issued_at"] > row["token_issued_at"]
    still_open = owner.execute("SELECT kind FROM notices WHERE resolved_at IS NULL").fetchall()
    assert [one["kind"] for one in still_open] == ["post_failed"]


async def test_a_login_beside_a_refusal_of_the_old_token_leaves_no_open_notice(
    logins: Logins, databases: Databases
) -> None:
    """It waits for the refusal that is being written, so that it sees the notice and settles it."""
    await logins.log_in("allow:17841001")
    row = logins.stored("17841001")
    assert row
    query = logins.meta.consent(await logins.begin(), "allow:17841001")
    with psycopg.connect(databases.owner_url, row_factory=dict_row) as refusing:
        stop_account(
            refusing, load_account(refusing, logins.world.us.cipher, row["id"]), "Graph error 190/463"
        )
        login = asyncio.create_task(logins.back(query))
        waits = "SELECT 1 AS one FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await eventually(lambda: login.done() or databases.query(waits))
        assert not login.done()
        refusing.commit()
    assert (await login).status_code == 200
    row = logins.stored("17841001")
    assert row
    assert row["status"] == "active"
    (notice,) = databases.query("SELECT kind, resolved_at FROM notices")
    assert notice["kind"] == "needs_reconnect"
    assert notice["resolved_at"] is not None


async def test_start_needs_credentials(logins: Logins) -> None:
    assert (await logins.browser.get("/api/oauth/instagram/start")).status_code == 401
    assert (await logins.start("myspace")).status_code == 422


@pytest.mark.parametrize(
    ("public_url", "apps", "missing"),
    [
        ("", APPS, "PUBLIC_URL"),
        (PUBLIC_URL, {}, "INSTAGRAM_APP_ID"),
        (PUBLIC_URL, {"instagram_app_id": "12345"}, "INSTAGRAM_APP_SECRET"),
    ],
)
async def test_a_login_that_is_not_set_up_names_the_variable(
    world: Any, monkeypatch: pytest.MonkeyPatch, public_url: str, apps: dict[str, str], missing: str
) -> None:
    monkeypatch.delenv("INSTAGRAM_APP_SECRET")
    client = LoginClient(GraphSettings(), LoginSettings(**apps))
    world.app.state.connector = Connector(world.us.cipher, client)
    world.app.include_router(oauth_router(public_url, AuthSettings()))
    response = await world.get("/api/oauth/instagram/start")
    client.close()
    assert (response.status_code, response.json()["type"]) == (501, "urn:socialsync:problem:login-not-set-up")
    assert f"{missing} is not set" in response.json()["detail"]
    assert "set-cookie" not in response.headers


async def test_a_path_before_the_api_is_in_the_cookie(world: Any, meta: MetaSandbox) -> None:
    client = LoginClient(GraphSettings(meta_graph_url=meta.url), LoginSettings(**APPS))
    world.app.state.connector = Connector(world.us.cipher, client)
    world.app.include_router(oauth_router("http://10.0.0.1:8000/sync", AuthSettings()))
    response = await world.get("/api/oauth/facebook/start")
    client.close()
    cookie = response.headers["set-cookie"].split("; ")
    assert "Path=/sync/api/oauth" in cookie
    assert "Secure" not in cookie
    redirect = dict(httpx.URL(response.json()["authorization_url"]).params)["redirect_uri"]
    assert urlsplit(redirect).path == "/sync/api/oauth/facebook/callback"


async def test_no_secret_shows_in_logs_or_answers(
    logins: Logins, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for noisy in ("httpx", "httpcore"):  # as configure_logging does: they would log whole addresses
        caplog.set_level(logging.WARNING, noisy)
    answers, queries = [], []
    for login, choice, faults in (
        ("instagram", "allow:17841001", [("subscribe", "permission")]),
        ("facebook", "allow:9001,9002", [("subscribe", "server_error")]),
        ("instagram", "allow:17841001", [("exchange", "server_error")]),
        ("facebook", "allow:9001", [("pages", "permission")]),
    ):
        queries.append(query := logins.meta.consent(await logins.begin(login), choice))
        for step, kind in faults:
            logins.meta.fault(step, kind)
        answers.append((await logins.back(query, login, **BROWSER)).text)
        answers.append((await logins.back(query, login)).text)
    answers.append((await logins.world.get("/api/v1/accounts")).text)
    output = capfd.readouterr()
    shown = "\n".join([caplog.text, output.out, output.err, *answers])
    secrets = [query[name] for query in queries for name in ("code", "state")]
    secrets += [logins.token(account) for account in ("17841001", "9001", "9002")]
    secrets += [APPS["meta_app_secret"], APPS["instagram_app_secret"]]
    assert "accounts connected" in shown
    assert [secret for secret in secrets if secret in shown] == []


async def test_tokens_are_bound_to_tenant_and_account(logins: Logins) -> None:
    await logins.log_in("allow:17841001")
    row = logins.stored("17841001")
    assert row
    assert isinstance(row["id"], UUID)
    assert row["platform"] == Platform.INSTAGRAM
    keys = TEST_SECRETS["TOKEN_ENCRYPTION_KEYS"]
    cipher = TokenCipher(EncryptionSettings(token_encryption_keys=keys))
    assert cipher.is_current(row["token"])
    with pytest.raises(Exception, match="does not decrypt"):
        cipher.decrypt(row["token"], logins.world.them.id, row["id"])
