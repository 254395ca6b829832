"""Migrations, and what they promise: tenants are apart in the database itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from socialsync_cli.embedded import EmbeddedPostgres
from socialsync_common import migrate as migrations
from socialsync_common.contracts import Platform
from socialsync_common.db import SCOPE, Database, tenant_scope
from socialsync_common.errors import ConfigError
from socialsync_common.migrate import migrate
from socialsync_common.settings import DatabaseSettings
from support import Databases, Tenant

pytestmark = pytest.mark.integration

# A row of each table that belongs to a tenant, beside the accounts and API keys that every tenant has.
# Parameters: tenant, account, contact.
ROWS: dict[str, LiteralString] = {
    "contacts": "INSERT INTO contacts (tenant_id, account_id, id) VALUES (%(tenant)s, %(account)s, %(contact)s)",
    "contact_identities": """INSERT INTO contact_identities (tenant_id, account_id, kind, value, contact_id)
        VALUES (%(tenant)s, %(account)s, 'phone', %(contact)s, %(contact)s)""",
    "conversations": """INSERT INTO conversations (tenant_id, account_id, id)
        VALUES (%(tenant)s, %(account)s, %(contact)s)""",
    "messages": """INSERT INTO messages (tenant_id, account_id, conversation_id, direction, author,
        platform_message_id, kind, sent_at, awaiting_reply)
        VALUES (%(tenant)s, %(account)s, %(contact)s, 'in', 'contact', %(contact)s, 'text', now(), true)""",
    "outbox": """INSERT INTO outbox (tenant_id, account_id, id, conversation_id, batch_id, part, author, text)
        VALUES (%(tenant)s, %(account)s, %(contact)s, %(contact)s, %(contact)s, 1, 'ai', 'Yes.')""",
    "webhook_events": """INSERT INTO webhook_events (tenant_id, account_id, platform, kind, action, raw)
        VALUES (%(tenant)s, %(account)s, 'whatsapp', 'status', 'status', '{}')""",
    "usage": """INSERT INTO usage (tenant_id, account_id, month, kind, count)
        VALUES (%(tenant)s, %(account)s, '2026-11-01', 'ai_replies', 1)""",
    "media": """INSERT INTO media (tenant_id, id, kind, mime_type, size, sha256, width, height, name, storage)
        VALUES (%(tenant)s, %(contact)s, 'image', 'image/jpeg', 1, '', 1, 1, 'a.jpg', 'postgres')""",
    "media_chunks": """INSERT INTO media_chunks (tenant_id, media_id, number, content)
        VALUES (%(tenant)s, %(contact)s, 0, 'x')""",
    "scheduled_posts": """INSERT INTO scheduled_posts (tenant_id, id, kind, due_at, zone, request_hash)
        VALUES (%(tenant)s, %(contact)s, 'image', now(), 'UTC', '')""",
    "post_media": """INSERT INTO post_media (tenant_id, post_id, position, media_id)
        VALUES (%(tenant)s, %(contact)s, 1, %(contact)s)""",
    "post_targets": """INSERT INTO post_targets (tenant_id, id, post_id, account_id, due_at)
        VALUES (%(tenant)s, %(contact)s, %(contact)s, %(account)s, now())""",
    "notices": """INSERT INTO notices (tenant_id, kind, message, key)
        VALUES (%(tenant)s, 'quota_low', 'Soon.', 'a key')""",
    "oauth_states": """INSERT INTO oauth_states (tenant_id, hash, platform, binding, caller, expires_at)
        VALUES (%(tenant)s, decode(replace(%(contact)s::text, '-', ''), 'hex'), 'instagram', '', 'me', now())""",
    "comment_policies": """INSERT INTO comment_policies (tenant_id, account_id, enabled, review, reply, praise, spam, watch,
        within_hours, account_per_hour, post_per_hour, author_per_hour, rules)
        VALUES (%(tenant)s, %(account)s, true, true, 'public', 'answer', 'leave', 'all', 24, 60, 30, 5, '{}')""",
    "monitored_posts": """INSERT INTO monitored_posts (tenant_id, account_id, id, external_id, origin, monitored)
        VALUES (%(tenant)s, %(account)s, %(contact)s, 'a post', 'seen', false)""",
    "post_pictures": """INSERT INTO post_pictures (tenant_id, post_id, position, mime_type, content)
        VALUES (%(tenant)s, %(contact)s, 1, 'image/jpeg', 'x')""",
    "comments": """INSERT INTO comments (tenant_id, account_id, post_id, id, external_id, kind, source, written_at)
        VALUES (%(tenant)s, %(account)s, %(contact)s, %(contact)s, 'a comment', 'comment', 'webhook', now())""",
    "comment_sends": """INSERT INTO comment_sends (tenant_id, account_id, post_id, comment_id, kind, author, version, status)
        VALUES (%(tenant)s, %(account)s, %(contact)s, %(contact)s, 'hide', 'person', 1, 'pending')""",
}
TABLES = ("accounts", "api_keys", *ROWS)


def row_of(tenant: Tenant) -> dict[str, Any]:
    account = tenant.accounts[Platform.WHATSAPP].id
    return {"tenant": tenant.id, "account": account, "contact": uuid.uuid5(account, "contact")}


@pytest.fixture
def filled(databases: Databases, tenants: tuple[Tenant, Tenant]) -> tuple[Tenant, Tenant]:
    """Two tenants with a row in every table, written as the services write."""
    for tenant in tenants:
        with psycopg.connect(databases.service_url) as connection:
            scope(connection, tenant)
            for statement in ROWS.values():
                connection.execute(statement, row_of(tenant))
    return tenants


@pytest.fixture
def service(databases: Databases) -> Iterator[psycopg.Connection]:
    """A connection as the services log in, whose one transaction is rolled back."""
    with psycopg.connect(databases.service_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without a schema."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres.url_of(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def scope(connection: psycopg.Connection, *tenants: Tenant) -> None:
    connection.execute(SCOPE, (tenant_scope(tenant.id for tenant in tenants),))


def owners(connection: psycopg.Connection, table: str) -> set[Any]:
    column = "id" if table == "tenants" else "tenant_id"
    query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
    return {row[0] for row in connection.execute(query).fetchall()}


def refused(
    connection: psycopg.Connection, statement: LiteralString | sql.Composed, parameters: Any = None
) -> None:
    # a reference across tenants is refused before the row's own tenant is looked at
    refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ForeignKeyViolation)
    with pytest.raises(refusals), connection.transaction():
        connection.execute(statement, parameters)


def test_each_is_applied_once(empty_url: str) -> None:
    first = migrate(empty_url)
    assert first == sorted(first)
    assert "0001_pre_direct_messages.sql" in first
    assert migrate(empty_url) == []
    with psycopg.connect(empty_url) as connection:
        recorded = connection.execute("SELECT name FROM schema_migrations ORDER BY name").fetchall()
    assert [name for (name,) in recorded] == first


def test_phases(empty_url: str) -> None:
    post = migrate(empty_url, phase="post")
    pre = migrate(empty_url, phase="pre")
    assert all("_post_" in name for name in post)
    assert pre
    assert all("_pre_" in name for name in pre)
    assert migrate(empty_url) == []


def test_runs_at_once_apply_each_once(empty_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(migrate, empty_url, "socialsync", "socialsync") for _ in range(6)]
        applied = [name for run in runs for name in run.result(60)]
    assert len(applied) == len(set(applied)) > 0


def test_a_changed_file_is_refused(databases: Databases) -> None:
    databases.query("UPDATE schema_migrations SET checksum = 'of another text' RETURNING name")
    with pytest.raises(ConfigError, match=r"0001_pre_direct_messages\.sql was changed after it was applied"):
        migrate(databases.owner_url)


def test_the_command_names_the_variable_at_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], postgres: EmbeddedPostgres
) -> None:
    away = "postgresql://owner:hunter2@127.0.0.1:1/shop"
    for owner, service_url, words in (
        ("", "", "MIGRATION_DATABASE_URL: is not set"),
        (away, "", "MIGRATION_DATABASE_URL: cannot connect"),
        ("postgres//owner:hunter2@db", "", "MIGRATION_DATABASE_URL: is no postgresql:// URL"),
        (postgres.url, "postgres//shop:hunter2@db", "DATABASE_URL: is no postgresql:// URL"),
    ):
        monkeypatch.setenv("MIGRATION_DATABASE_URL", owner)
        monkeypatch.setenv("DATABASE_URL", service_url)
        with pytest.raises(SystemExit) as caught:
            migrations.main([])
        assert caught.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"socialsync: configuration: {words}")
        assert said.count("\n") == 1
        assert "hunter2" not in said


def test_the_command_admits_the_service(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    user = f"role_{uuid.uuid4().hex}"
    service_url = empty_url.replace(empty_url[len("postgresql://") : empty_url.index("@")], f"{user}:word")
    monkeypatch.setenv("MIGRATION_DATABASE_URL", empty_url)
    monkeypatch.setenv("DATABASE_URL", service_url)
    migrations.main([])
    assert "applied 0001_pre_direct_messages.sql\n" in capsys.readouterr().out
    try:
        with psycopg.connect(service_url) as connection:
            assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    finally:
        with psycopg.connect(empty_url) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


def test_every_table_of_a_tenant_has_forced_row_level_security(databases: Databases) -> None:
    rows = databases.query(
        """
        SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
               EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS of_tenant
          FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        """
    )
    assert {row["name"] for row in rows if row["of_tenant"]} == set(TABLES), "a new table needs its row above"
    assert {row["name"] for row in rows if not row["forced"]} == {"schema_migrations"}


@pytest.mark.parametrize("table", ["tenants", *TABLES])
def test_tenants_do_not_see_each_other(
    table: str, filled: tuple[Tenant, Tenant], service: psycopg.Connection
) -> None:
    ours, theirs = filled
    assert owners(service, table) == set()
    scope(service, ours)
    assert owners(service, table) == {ours.id}
    scope(service, theirs)
    assert owners(service, table) == {theirs.id}
    scope(service, ours, theirs)
    assert owners(service, table) == {ours.id, theirs.id}
    scope(service)
    assert owners(service, table) == set()


@pytest.mark.parametrize("table", ["contacts", "contact_identities", "conversations", "messages", "outbox"])
def test_tenants_cannot_change_each_other(
    table: str, filled: tuple[Tenant, Tenant], service: psycopg.Connection
) -> None:
    ours, theirs = filled
    scope(service, ours)
    name = sql.Identifier(table)
    touched = service.execute(sql.SQL("UPDATE {} SET tenant_id = tenant_id").format(name)).rowcount
    assert touched == 1
    # nor give a row away
    refused(service, sql.SQL("UPDATE {} SET tenant_id = %s").format(name), (theirs.id,))


@pytest.mark.parametrize("table", list(ROWS))
def test_tenants_cannot_write_for_each_other(
    table: str, tenants: tuple[Tenant, Tenant], service: psycopg.Connection
) -> None:
    ours, theirs = tenants
    for stranger in ((), (ours,)):
        scope(service, *stranger)
        refused(service, ROWS[table], row_of(theirs))


def test_an_event_may_belong_to_nobody_but_then_nobody_sees_it(
    tenants: tuple[Tenant, Tenant], service: psycopg.Connection, databases: Databases
) -> None:
    scope(service, *tenants)
    service.execute(ROWS["webhook_events"], {"tenant": None, "account": None})
    assert owners(service, "webhook_events") == set()


def test_the_scope_ends_with_its_transaction(
    filled: tuple[Tenant, Tenant], service: psycopg.Connection
) -> None:
    scope(service, *filled)
    assert owners(service, "messages")
    service.commit()
    assert owners(service, "messages") == set()


def test_the_service_cannot_bypass_row_level_security(
    filled: tuple[Tenant, Tenant], service: psycopg.Connection, databases: Databases
) -> None:
    for statement in (
        "SET ROLE socialsync_system",
        "SET ROLE postgres",
        "ALTER ROLE socialsync BYPASSRLS",
        "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON messages",
        "CREATE POLICY all_of_it ON messages USING (true)",
        "DELETE FROM messages",
        "TRUNCATE messages CASCADE",
        "UPDATE accounts SET tenant_id = tenant_id",
        "UPDATE tenants SET name = name",
        "DELETE FROM schema_migrations",
        "UPDATE schema_migrations SET checksum = ''",
        "CREATE TABLE mine (n int)",
        "GRANT socialsync_system TO socialsync",
    ):
        refused(service, statement)
    # with this setting, what row-level security would hide is an error rather than hidden
    service.execute("SET LOCAL row_security = off")
    refused(service, "SELECT * FROM messages")
    rows = databases.query(
        "SELECT rolname, rolsuper OR rolbypassrls AS bypasses FROM pg_roles WHERE rolname LIKE 'socialsync%%'"
    )
    assert {row["rolname"]: row["bypasses"] for row in rows} == {
        "socialsync": False,
        "socialsync_service": False,
        "socialsync_system": False,
    }


def test_what_looks_across_tenants_returns_ids_only(databases: Databases) -> None:
    rows = databases.query(
        """
        SELECT p.proname AS name, r.rolname AS owner, p.proconfig AS settings,
               pg_get_function_result(p.oid) AS result, has_function_privilege('public', p.oid, 'EXECUTE') AS open
          FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
         WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
        """
    )
    assert rows
    harmless = ("platform", "status", "crowded", "boolean")
    for row in rows:
        assert row["owner"] == "socialsync_system", row["name"]
        assert row["settings"] == ["search_path=public, pg_temp"], row["name"]
        assert not row["open"], row["name"]
        columns = row["result"].removeprefix("TABLE(").removesuffix(")").split(", ")
        names = {column.split()[0] for column in columns} - {"uuid"}
        assert all(name.endswith(("_id", "_ids")) or name in harmless for name in names), row


def test_a_role_that_bypasses_is_refused_at_start(databases: Databases) -> None:
    for url, refuses in ((databases.service_url, False), (databases.owner_url, True)):
        database = Database(DatabaseSettings(database_url=url))
        database.open()
        try:
            if refuses:
                with pytest.raises(ConfigError, match="DATABASE_URL: its role bypasses row-level security"):
                    database.check_role()
            else:
                database.check_role()
        finally:
            database.close()
