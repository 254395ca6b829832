"""``socialsync replay``: post stored webhook bodies and show what the gateway decided for each item."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
import redis
from psycopg import sql
from pydantic import Field, SecretStr
from rich.text import Text

from socialsync_cli import tenants
from socialsync_cli.console import note, out
from socialsync_cli.embedded import EmbeddedPostgres, EmbeddedRedis
from socialsync_cli.folder import SERVICE_PASSWORD, DataFolder
from socialsync_cli.processes import free_port
from socialsync_cli.supervisor import Service, Supervisor
from socialsync_cli.system import gateway_command, gateway_ready, quiet
from socialsync_cli.webhook_files import Skipped, WebhookFile, read
from socialsync_common.errors import ConfigError, PermanentError, SocialSyncError
from socialsync_common.migrate import migrate
from socialsync_common.settings import Settings, load

TENANT = "Replay"
_SERVICE_USER = "socialsync"
_POST_SECONDS = 60.0
_COLOURS = {
    "reply": "green",
    "person": "blue",
    "identity": "blue",
    "comment": "magenta",
    "status": "cyan",
    "store": "yellow",
    "invalid": "red",
    "ignore": "dim",
}


class SigningSettings(Settings):
    """Bodies are signed as Meta does: with the app's secret."""

    meta_app_secret: SecretStr = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Result:
    """One posted file. ``items`` as the gateway explains them: id, kind, action, stored, reason."""

    file: str
    status: int
    items: list[dict[str, Any]] = field(default_factory=list)


def replay(paths: Iterable[Path], gateway_url: str, *, as_json: bool, fresh: Callable[[], None]) -> bool:
    """Post every file, after ``fresh``, and print a line for each.

    Returns:
        Whether no answer was a 5xx.

    Raises:
        ConfigError: a path is not there, or a setting is missing.
        SocialSyncError: the gateway is away.
    """
    secret = load(SigningSettings).meta_app_secret.get_secret_value().encode()
    sound = True
    with httpx.Client(timeout=_POST_SECONDS, trust_env=False) as http:
        for file in read(paths):
            if isinstance(file, Skipped):
                note(f"skipped {file.name}: {file.reason}")
                continue
            fresh()
            _connect_accounts(file)
            result = _post(http, gateway_url, file, secret)
            sound = sound and result.status < 500
            if as_json:
                out.print(json.dumps(asdict(result)), markup=False, soft_wrap=True)
            else:
                out.print(_describe(result), soft_wrap=True)
    return sound


def sign(secret: bytes, raw: bytes) -> str:
    """The value of X-Hub-Signature-256."""
    return f"sha256={hmac.new(secret, raw, hashlib.sha256).hexdigest()}"


def _connect_accounts(file: WebhookFile) -> None:
    for external_id in file.receiving_ids:
        try:
            with tenants.connection() as opened:
                tenants.connect(
                    opened,
                    tenant=TENANT,
                    platform=file.platform,
                    external_id=external_id,
                    name=f"{file.platform} {external_id}",
                    token="replay",  # noqa: S106 - opens nothing
                    instructions="",
                )
        except PermanentError:
            continue  # another tenant has connected it: it is there


def _post(http: httpx.Client, gateway_url: str, file: WebhookFile, secret: bytes) -> Result:
    headers = {
        "Content-Type": "application/json",
        "X-Hub-Signature-256": sign(secret, file.raw),
        "X-SocialSync-Explain": "1",
    }
    url = f"{gateway_url}/api/{file.platform}/webhook"
    try:
        answer = http.post(url, content=file.raw, headers=headers)
    except httpx.TransportError as error:
        raise SocialSyncError(
            f"no gateway at {gateway_url} ({type(error).__name__}): start `socialsync run`, or name one with --url"
        ) from None
    return Result(file.name, answer.status_code, _items(answer))


def _items(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        items = answer.json()["items"]
    except (ValueError, KeyError, TypeError):  # an error, or a gateway that does not explain
        return []
    return [{key: item.get(key) for key in ("id", "kind", "action", "stored", "reason")} for item in items]


def _describe(result: Result) -> Text:
    status_colour = "green" if result.status < 400 else "bold red"
    line = Text.assemble((str(result.status), status_colour), f"  {result.file}")
    if not result.items:
        line.append("  no items", "dim")
    for item in result.items:
        line.append("  ")
        line.append(str(item["action"]), _COLOURS.get(str(item["action"]), ""))
        line.append(f" {item['kind']}")
        if item["reason"]:
            line.append(f" ({item['reason']})", "dim")
    return line


@contextmanager
def embedded_gateway() -> Iterator[tuple[str, Callable[[], None]]]:
    """A gateway on servers of its own: its URL, and how to empty it. Sets this process's environment."""
    with TemporaryDirectory(prefix="socialsync-replay-") as scratch:
        folder = DataFolder(Path(scratch) / "data")
        supervisor = Supervisor(quiet)
        with folder.locked():
            try:
                postgres = EmbeddedPostgres(folder.path / "postgres", {"fsync": "off"})
                broker = EmbeddedRedis(folder.path / "redis")
                for server in (broker, postgres):
                    supervisor.start(server)
                owner_url = postgres.ensure_database("socialsync")
                environment = folder.secrets()
                password = environment.pop(SERVICE_PASSWORD)
                migrate(owner_url, _SERVICE_USER, password)
                environment |= {
                    "DATABASE_URL": postgres.url_of("socialsync", _SERVICE_USER, password),
                    "CELERY_BROKER_URL": broker.url,
                }
                os.environ.update(environment)
                url = _start_gateway(supervisor, folder)
                with redis.Redis.from_url(broker.url, socket_timeout=10) as client:
                    yield url, lambda: _empty(owner_url, client)
            finally:
                supervisor.stop()


def _start_gateway(supervisor: Supervisor, folder: DataFolder) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    gateway = Service(
        "gateway", gateway_command(port), os.environ, folder.logs / "gateway.log", quiet, gateway_ready(url)
    )
    supervisor.start(gateway)
    gateway.wait_ready()
    return url


def _empty(owner_url: str, client: redis.Redis) -> None:
    """Every table but the list of migrations, and all of Redis."""
    with psycopg.connect(owner_url, connect_timeout=10) as owner:
        rows = owner.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
        ).fetchall()
        tables = sql.SQL(", ").join(sql.Identifier(str(name)) for (name,) in rows)
        owner.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(tables))
    client.flushall()


def running_gateway(folder: DataFolder, url: str | None) -> str:
    """Which gateway to post to; sets this process's environment from the data folder where it lacks something.

    Raises:
        ConfigError: none was named and none runs on this folder.
    """
    running = folder.running()
    known = folder.read_secrets() if running is None else running.environment
    for name, value in known.items():
        os.environ.setdefault(name, value)
    if url:
        return url.rstrip("/")
    if running is None:
        raise ConfigError(
            f"no `socialsync run` is up on {folder.path}: start it, or use --embedded, or name a gateway with --url"
        )
    return running.gateway_url
