"""Real servers for every test that asks: one Postgres and one Redis a session, a database copy a test."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_socket
import redis
from psycopg.rows import dict_row

from socialsync_cli.embedded import EmbeddedPostgres, EmbeddedRedis
from socialsync_common.accounts import connect_account, create_api_key
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.migrate import migrate
from socialsync_common.settings import EncryptionSettings
from support import TEST_SECRETS, Databases, Tenant, server_folder

TEMPLATE = "socialsync_template"
SERVICE_USER = "socialsync"
_OURS = (
    "DATABASE",
    "CELERY",
    "META_",
    "AI_",
    "TOKEN_",
    "SUPABASE",
    "INSTAGRAM",
    "BATCH_",
    "GRAPH_",
    "SANDBOX_",
    "OTEL_",
    "LOG_",
)


_FIGURES = pytest.StashKey[list[dict[str, Any]]]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What drills measured, one JSON line each."""
    for figures in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(json.dumps(figures))


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Filled in by a module's drills, and printed when all tests have run."""
    found: dict[str, Any] = {"drill": request.path.stem.removeprefix("test_")}
    request.config.stash.setdefault(_FIGURES, []).append(found)
    return found


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not leak into a test."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_sockets_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit tests open no connection; the event loop's own socket pair is allowed."""
    if "unit" not in Path(str(request.path)).parts or request.node.get_closest_marker("enable_socket"):
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server a session. Durability is for drills, which start their own."""
    with (
        server_folder() as folder,
        EmbeddedPostgres(folder, {"fsync": "off", "max_connections": "200"}) as server,
    ):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(server.url_of(TEMPLATE), SERVICE_USER, SERVICE_USER)
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    with server_folder() as folder, EmbeddedRedis(folder) as server:
        yield server


@pytest.fixture
def databases(postgres: EmbeddedPostgres) -> Iterator[Databases]:
    """A copy of the migrated template, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield Databases(postgres.url_of(name), postgres.url_of(name, SERVICE_USER))
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """An empty Redis."""
    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def environment(
    databases: Databases,
    redis_server: EmbeddedRedis,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """The settings of a service that runs against this test's servers."""
    values = {**TEST_SECRETS, "DATABASE_URL": databases.service_url, "CELERY_BROKER_URL": redis_server.url}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def tenants(environment: dict[str, str], databases: Databases) -> tuple[Tenant, Tenant]:
    """Two tenants, always: what belongs to one must never show in the other."""
    cipher = TokenCipher(EncryptionSettings(token_encryption_keys=environment["TOKEN_ENCRYPTION_KEYS"]))
    with psycopg.connect(databases.service_url, row_factory=dict_row) as connection:
        return _make_tenant(connection, cipher, "Bakery", "1"), _make_tenant(
            connection, cipher, "Florist", "2"
        )


def _make_tenant(connection: Any, cipher: TokenCipher, name: str, digit: str) -> Tenant:
    accounts = {
        platform: connect_account(
            connection,
            cipher,
            tenant=name,
            platform=platform,
            external_id=f"{digit}0{number}",
            name=f"{name} {platform}",
            token=f"token-{digit}",
            instructions=f"{name}: we open at 8 and close at 18. We deliver on Sundays.",
        )
        for number, platform in enumerate(Platform)
    }
    key = create_api_key(connection, accounts[Platform.WHATSAPP].tenant_id, "tests")
    return Tenant(name, accounts, key)
