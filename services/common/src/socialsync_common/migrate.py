"""Numbered SQL migrations, applied once each under an advisory lock.

``NNNN_pre_*.sql`` may run while the old code still serves; ``NNNN_post_*.sql`` once only new code does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from socialsync_common.errors import ConfigError
from socialsync_common.settings import exit_on_config_error

Phase = Literal["pre", "post", "all"]

SERVICE_ROLE = "socialsync_service"
_LOCK_KEY = 7_236_910_455
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""


def migrate(
    owner_url: str, service_user: str | None = None, service_password: str | None = None, phase: Phase = "all"
) -> list[str]:
    """Bring the database up to date and let ``service_user`` in; returns the names applied now.

    Raises:
        ConfigError: an applied migration's file has changed since.
    """
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        connection.execute(_TABLE)
        known: dict[str, str] = dict(
            connection.execute("SELECT name, checksum FROM schema_migrations").fetchall()
        )
        applied = []
        for name, text in _files(phase):
            checksum = hashlib.sha256(text.encode()).hexdigest()
            if name in known:
                if known[name] != checksum:
                    raise ConfigError(
                        f"migration {name} was changed after it was applied: add a new one instead"
                    )
                continue
            with connection.transaction():
                connection.execute(text)
                connection.execute(
                    "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (name, checksum)
                )
            applied.append(name)
        # who starts may see for itself whether the schema is there
        connection.execute(
            sql.SQL("GRANT SELECT ON schema_migrations TO {}").format(sql.Identifier(SERVICE_ROLE))
        )
        if service_user:
            _admit(connection, service_user, service_password)
        return applied


def pending(connection: psycopg.Connection) -> list[str]:
    """The migrations that this version's code needs and that have not run: all but those that follow it."""
    wanted = [name for name, _ in _files("pre")]
    if connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,):
        return wanted
    known = {name for (name,) in connection.execute("SELECT name FROM schema_migrations")}
    return [name for name in wanted if name not in known]


def _files(phase: Phase) -> list[tuple[str, str]]:
    folder = resources.files("socialsync_common") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        (name, (folder / name).read_text("utf-8")) for name in names if phase in ("all", name.split("_")[1])
    ]


def _admit(connection: psycopg.Connection, user: str, password: str | None) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,)).fetchone()
    if not exists:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(password))
        )
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVICE_ROLE), sql.Identifier(user)))


def read_url(variable: str, url: str) -> dict[str, str]:
    """The parts of a Postgres URL. Raises ConfigError that names ``variable`` and shows nothing of the URL."""
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError:  # its message repeats the URL, password and all
        raise ConfigError(f"{variable}: is no postgresql:// URL") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m socialsync_common.migrate [pre|post|all]``: the owner comes from MIGRATION_DATABASE_URL, the role
    to admit from DATABASE_URL."""
    parser = argparse.ArgumentParser(prog="socialsync_common.migrate", description=main.__doc__)
    parser.add_argument("phase", nargs="?", choices=("pre", "post", "all"), default="all")
    phase: Phase = parser.parse_args(arguments).phase
    try:
        owner_url = os.environ.get("MIGRATION_DATABASE_URL")
        if not owner_url:
            raise ConfigError("MIGRATION_DATABASE_URL: is not set (the URL of the database's owner)")
        read_url("MIGRATION_DATABASE_URL", owner_url)
        service = read_url("DATABASE_URL", os.environ.get("DATABASE_URL", ""))
        for name in migrate(owner_url, service.get("user"), service.get("password"), phase):
            sys.stdout.write(f"applied {name}\n")
    except ConfigError as error:
        exit_on_config_error(error)
    except psycopg.OperationalError as error:
        exit_on_config_error(
            ConfigError(f"MIGRATION_DATABASE_URL: cannot connect: {str(error).splitlines()[0]}")
        )


if __name__ == "__main__":
    main()
