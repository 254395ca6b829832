"""The daily care for accounts: refreshes, keys, subscriptions, and what people are told, on Postgres and the sandbox."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from sandbox_process import MetaSandbox, sandbox_process
from socialsync_common.accounts import Account, connect_account, load_account, stop_account
from socialsync_common.contracts import Lane, Platform, TaskName
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.platforms.login import LoginClient
from socialsync_common.settings import DatabaseSettings, EncryptionSettings, GraphSettings, LoginSettings
from socialsync_scheduler.accounts.care import care_for_account, refresh_tokens
from support import TEST_KEYS, TEST_SECRETS, Databases, Tenant

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NEW_KEY = "k2:" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()


def cipher(keys: str = TEST_KEYS) -> TokenCipher:
    return TokenCipher(EncryptionSettings(token_encryption_keys=keys))


@dataclass
class Broker:
    """What is sent to Celery; the broker goes away after ``room`` tasks."""

    room: int = 10**6
    tasks: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    def send_task(self, name: str, *, kwargs: dict[str, str], queue: str) -> None:
        if len(self.tasks) >= self.room:
            raise OperationalError("away")
        self.tasks.append((name, kwargs, queue))


@dataclass
class Care:
    """The care's runtime, and a view of what it leaves behind."""

    database: Database
    cipher: TokenCipher
    login: LoginClient
    meta: MetaSandbox
    databases: Databases
    us: Tenant
    them: Tenant

    def account(self, tenant: Tenant, platform: Platform = Platform.INSTAGRAM) -> Account:
        account = tenant.accounts[platform]
        with self.database.transaction(account.tenant_id) as connection:
            return load_account(connection, self.cipher, account.id)

    def row(self, account: Account) -> dict[str, Any]:
        return self.databases.query("SELECT * FROM accounts WHERE id = %s", account.id)[0]

    def set(self, account: Account, **columns: Any) -> None:
        assignments = ", ".join(f"{name} = %s" for name in columns)
        self.databases.query(
            f"UPDATE accounts SET {assignments} WHERE id = %s",  # noqa: S608
            *columns.values(), account.id,
        )  # fmt: skip

    def __call__(self, account: Account, now: datetime = NOW) -> str:
        return care_for_account(self, account.tenant_id, account.id, now)

    def notices(self, account: Account) -> list[dict[str, Any]]:
        return self.databases.query(
            "SELECT kind, message, resolved_at IS NULL AS open FROM notices WHERE account_id = %s ORDER BY created_at",
            account.id,
        )

    def told(self, account: Account) -> list[str]:
        return [notice["kind"] for notice in self.notices(account)]

    def reconnect(self, account: Account, token: str) -> Account:
        """What a login does."""
        self.meta.account(account.platform, account.external_id, token)
        with self.database.transaction(account.tenant_id) as connection:
            return connect_account(
                connection, self.cipher, tenant=self._tenant_of(account).name, platform=account.platform,
                external_id=account.external_id, name=account.name, token=token,
            )  # fmt: skip

    def _tenant_of(self, account: Account) -> Tenant:
        return next(tenant for tenant in (self.us, self.them) if tenant.id == account.tenant_id)


@pytest.fixture(scope="module")
def meta() -> Iterator[MetaSandbox]:
    with sandbox_process() as sandbox:
        yield sandbox


@pytest.fixture
def care(tenants: tuple[Tenant, Tenant], databases: Databases, meta: MetaSandbox) -> Iterator[Care]:
    """Both tenants' accounts as Meta knows them: subscribed, with tokens of their own."""
    meta.control("DELETE", "state")
    database = Database(DatabaseSettings(database_url=databases.service_url, database_pool_size=4))
    database.open()
    graph = GraphSettings(meta_graph_url=meta.url, meta_app_secret=TEST_SECRETS["META_APP_SECRET"])
    login = LoginClient(graph, LoginSettings())
    care = Care(database, cipher(), login, meta, databases, *tenants)
    for tenant in tenants:
        for platform, account in tenant.accounts.items():
            token, waba = f"token-{account.external_id}", f"88{account.external_id}"
            meta.account(platform, account.external_id, token, name=account.name, business_account_id=waba)
            care.set(
                account, token=care.cipher.encrypt(token, account.tenant_id, account.id), subscribed=True,
                business_account_id=waba if platform is Platform.WHATSAPP else None,
                token_issued_at=NOW - timedelta(days=2),
                token_expires_at=NOW + timedelta(days=58) if platform is Platform.INSTAGRAM else None,
            )  # fmt: skip
            login.subscribe(platform, waba if platform is Platform.WHATSAPP else account.external_id, token)
    yield care
    login.close()
    database.close()


def half_way(care: Care, account: Account, left: float = 20, issued: float = 40) -> Account:
    """Bring its token to the second half of its life."""
    care.set(
        account, token_issued_at=NOW - timedelta(days=issued), token_expires_at=NOW + timedelta(days=left)
    )
    with care.database.transaction(account.tenant_id) as connection:
        return load_account(connection, care.cipher, account.id)


@pytest.mark.parametrize("platform", list(Platform))
def test_a_healthy_account_is_left_as_it_is(care: Care, platform: Platform) -> None:
    account = care.account(care.us, platform)
    before = care.row(account)
    assert care(account) == "done"
    assert care.row(account) == before
    assert care.notices(account) == []


def test_a_token_is_refreshed_at_half_life(care: Care) -> None:
    account = half_way(care, care.account(care.us))
    theirs = care.row(care.account(care.them))
    assert care(account) == "done"
    fresh = care.account(care.us)
    assert fresh.token not in ("", account.token)
    assert (fresh.token_issued_at, fresh.token_expires_at) == (NOW, NOW + timedelta(days=60))
    assert care.notices(account) == []
    assert care.row(care.account(care.them)) == theirs
    # the next day there is nothing to do
    assert care(account, NOW + timedelta(days=1)) == "done"
    assert care.account(care.us).token == fresh.token


@pytest.mark.parametrize("kind", ["server_error", "throttled", "disconnect_before", "server_error_after"])
def test_a_refresh_that_is_not_answered_is_tried_again_within_the_hour(care: Care, kind: str) -> None:
    account = half_way(care, care.account(care.us))
    care.set(account, checked_at=NOW)
    care.meta.fault("refresh", kind)
    assert care(account) == "again"
    row = care.row(account)
    assert (row["checked_at"], row["status"], row["token_issued_at"]) == (
        None,
        "active",
        account.token_issued_at,
    )
    assert care.account(care.us).token == account.token
    assert care.notices(account) == []
    assert care(account, NOW + timedelta(hours=1)) == "done"
    assert care.account(care.us).token != account.token


def test_people_are_told_once_at_each_stage_where_refreshing_keeps_failing(care: Care) -> None:
    account = half_way(care, care.account(care.us), left=14, issued=46)
    expected = []
    for left, stage in ((14, "14 days"), (13, None), (7, "7 days"), (6, None), (1, "1 day"), (0.5, None)):
        care.meta.fault("refresh", "permission")
        assert care(account, NOW + timedelta(days=14 - left)) == "done"
        if stage:
            expected.append(stage)
        messages = [notice["message"] for notice in care.notices(account)]
        assert len(messages) == len(expected)
        assert all(f"in {days} at most" in message for days, message in zip(expected, messages, strict=True))
    assert set(care.told(account)) == {"token_expires"}
    assert "could not be refreshed" in care.notices(account)[0]["message"]
    assert "/api/oauth/instagram/start" in care.notices(account)[0]["message"]
    # it works at last, just in time: nothing is left to do
    assert care(account, NOW + timedelta(days=13, hours=23)) == "done"
    assert not any(notice["open"] for notice in care.notices(account))
    assert care.notices(care.account(care.them)) == []


def test_other_tokens_that_end_are_announced(care: Care) -> None:
    account = care.account(care.us, Platform.WHATSAPP)
    care.set(account, token_expires_at=NOW + timedelta(days=6))
    assert care(account) == "done"
    (notice,) = care.notices(account)
    assert notice["kind"] == "token_expires"
    assert "2026-11-30" in notice["message"]
    assert "system-user token" in notice["message"]


def test_an_expired_token_stops_the_account_with_one_notice(care: Care) -> None:
    account = half_way(care, care.account(care.us))
    care.meta.expire(account.token)
    assert [care(account, NOW + timedelta(days=day)) for day in range(3)] == ["stopped"] * 3
    for _ in range(5):  # what sends and posts find at the same time
        with care.database.transaction(account.tenant_id) as connection:
            stop_account(connection, account, "Graph error 190/463")
    row = care.row(account)
    assert row["status"] == "needs_reconnect"
    assert "190" in row["status_reason"]
    assert care.told(account) == ["needs_reconnect"]
    assert care.row(care.account(care.them))["status"] == "active"
    assert care.told(care.account(care.them)) == []


@pytest.mark.parametrize("platform", list(Platform))
def test_a_token_that_the_subscription_call_shows_as_expired(care: Care, platform: Platform) -> None:
    account = care.account(care.us, platform)
    care.meta.expire(account.token)
    assert care(account) == "stopped"
    assert care.told(account) == ["needs_reconnect"]
    assert care.row(account)["status"] == "needs_reconnect"


def test_reconnecting_settles_it_and_a_late_refusal_of_the_old_token_stops_nothing(care: Care) -> None:
    account = half_way(care, care.account(care.us))
    care.meta.expire(account.token)
    assert care(account) == "stopped"
    again = care.reconnect(account, "token-after-login")
    assert again.status == "active"
    assert not any(notice["open"] for notice in care.notices(account))
    with care.database.transaction(account.tenant_id) as connection:
        stop_account(connection, account, "Graph error 190/463 of a call made before")
    assert care.row(account)["status"] == "active"
    assert care.told(account) == ["needs_reconnect"]
    # a refusal of the new one does
    care.meta.expire(again.token)
    assert care(again) == "stopped"
    assert care.told(account) == ["needs_reconnect"] * 2


def test_a_login_during_a_refresh_is_not_overwritten(care: Care) -> None:
    account = half_way(care, care.account(care.us))
    reconnected = []

    class Slow(LoginClient):
        def refresh(self, token: str) -> Any:
            grant = super().refresh(token)
            reconnected.append(care.reconnect(account, "token-of-the-login"))
            return grant

    graph = GraphSettings(meta_graph_url=care.meta.url)
    care.login, before = Slow(graph, LoginSettings()), care.login
    try:
        assert care(account) == "done"
    finally:
        care.login.close()
        care.login = before
    now = care.account(care.us)
    assert (now.token, now.token_issued_at) == ("token-of-the-login", reconnected[0].token_issued_at)


def test_two_workers_do_not_refresh_the_same_token(care: Care) -> None:
    account = half_way(care, care.account(care.us))
    care.meta.fault("refresh", "slow", seconds=1, times=2)
    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(care, [account, account]))
    assert outcomes == ["busy", "done"]
    assert len(care.meta.tokens(account.external_id)) == 2


def test_tokens_move_to_the_first_key(care: Care) -> None:
    accounts = [care.account(tenant, platform) for tenant in (care.us, care.them) for platform in Platform]
    before = {account.id: care.row(account) for account in accounts}
    care.cipher = cipher(f"{NEW_KEY},{TEST_KEYS}")
    stopped = accounts[0]
    care.set(stopped, status="needs_reconnect")
    for account in accounts:
        assert care(account) == ("stopped" if account is stopped else "done")
    care.cipher = cipher(NEW_KEY)  # the old key may go now
    for account in accounts:
        row = care.row(account)
        assert care.cipher.is_current(row["token"])
        assert (
            care.account(care.us if account.tenant_id == care.us.id else care.them, account.platform).token
            == account.token
        )
        assert row["token_issued_at"] == before[account.id]["token_issued_at"]


def test_a_token_whose_key_is_missing_is_left_alone(care: Care) -> None:
    account = care.account(care.us)
    before = care.row(account)
    care.cipher = cipher(NEW_KEY)
    assert care(account) == "unreadable"
    assert care.row(account) == before


@pytest.mark.parametrize("platform", list(Platform))
def test_a_lost_subscription_is_restored_and_said(care: Care, platform: Platform) -> None:
    account = care.account(care.us, platform)
    node = account.business_account_id or account.external_id
    care.meta.lose_subscription(node)
    assert care(account) == "done"
    assert node in care.meta.subscriptions()
    (notice,) = care.notices(account)
    assert notice["kind"] == "subscription_lost"
    assert "is again now" in notice["message"]
    assert care.row(account)["subscribed"] is True
    # lost again on the same day: said before
    care.meta.lose_subscription(node)
    assert care(account, NOW + timedelta(hours=1)) == "done"
    assert node in care.meta.subscriptions()
    assert len(care.notices(account)) == 1
    care.meta.lose_subscription(node)
    assert care(account, NOW + timedelta(days=1)) == "done"
    assert len(care.notices(account)) == 2
    assert care.notices(care.account(care.them, platform)) == []


def test_what_was_never_subscribed_is_not_called_lost(care: Care) -> None:
    account = care.account(care.us)
    care.meta.lose_subscription(account.external_id)
    care.set(account, subscribed=False)
    assert care(account) == "done"
    assert account.external_id in care.meta.subscriptions()
    assert care.row(account)["subscribed"] is True
    assert care.notices(account) == []


def test_a_subscription_that_cannot_be_restored_is_said_once_a_day(care: Care) -> None:
    account = care.account(care.us, Platform.MESSENGER)
    care.meta.lose_subscription(account.external_id)
    for hours, told in ((0, 1), (1, 1), (24, 2)):
        care.meta.fault("subscribe", "permission", times=2)
        care(account, NOW + timedelta(hours=hours))
        care.meta.control("DELETE", "posting-faults")
        assert care.told(account) == ["subscription_lost"] * told
    assert care.row(account)["subscribed"] is False
    assert "could not be restored" in care.notices(account)[0]["message"]
    assert care(account, NOW + timedelta(hours=25)) == "done"
    assert care.row(account)["subscribed"] is True
    assert not any(notice["open"] for notice in care.notices(account))


def test_a_subscription_that_could_not_be_looked_at_is_not_called_lost(care: Care) -> None:
    account = care.account(care.us)
    care.set(account, checked_at=NOW)
    care.meta.fault("subscribe", "server_error")
    assert care(account) == "again"
    row = care.row(account)
    assert (row["checked_at"], row["subscribed"]) == (None, True)
    assert care.notices(account) == []


def test_an_account_that_is_gone(care: Care) -> None:
    assert care_for_account(care, care.us.id, UUID(int=1), NOW) == "gone"
    # another tenant's is gone, too
    assert care_for_account(care, care.us.id, care.account(care.them).id, NOW) == "gone"


def test_each_account_is_handed_out_once_a_day(care: Care) -> None:
    broker = Broker()
    app = cast("Celery", broker)
    assert refresh_tokens(care, app) == 6
    everyone = {
        (account.tenant_id, account.id)
        for tenant in (care.us, care.them)
        for account in tenant.accounts.values()
    }
    assert {(UUID(task["tenant_id"]), UUID(task["account_id"])) for _, task, _ in broker.tasks} == everyone
    assert {(name, queue) for name, _, queue in broker.tasks} == {(TaskName.CARE_FOR_ACCOUNT, Lane.SCHEDULER)}
    assert refresh_tokens(care, app) == 0
    account = care.account(care.us)
    care.set(account, checked_at=datetime.now(UTC) - timedelta(hours=22, minutes=59))
    assert refresh_tokens(care, app) == 0
    care.set(account, checked_at=datetime.now(UTC) - timedelta(hours=23, minutes=1))
    assert refresh_tokens(care, app) == 1


def test_what_the_broker_did_not_take_is_handed_out_at_the_next_tick(care: Care) -> None:
    with pytest.raises(OperationalError):
        refresh_tokens(care, cast("Celery", Broker(room=2)))
    broker = Broker()
    assert refresh_tokens(care, cast("Celery", broker)) == 4
    assert len(broker.tasks) == 4


def test_no_token_shows(
    care: Care, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for noisy in ("httpx", "httpcore"):  # as configure_logging does: they would log whole addresses
        caplog.set_level(logging.WARNING, noisy)
    account = half_way(care, care.account(care.us), left=10, issued=50)
    tokens = [account.token]
    for step, kind in (("refresh", "server_error"), ("refresh", "permission"), ("subscribe", "permission")):
        care.meta.fault(step, kind)
        care(account)
        tokens.append(care.account(care.us).token)
    care.meta.expire(tokens[-1])
    assert care(account) == "stopped"
    output = capfd.readouterr()
    shown = "\n".join(
        [caplog.text, output.out, output.err, *(one["message"] for one in care.notices(account))]
    )
    assert "token refreshed" in shown
    assert len(set(tokens)) == 2
    assert not [token for token in tokens if token in shown]
