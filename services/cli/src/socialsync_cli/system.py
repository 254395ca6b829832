"""The whole system on one machine: embedded servers where no real ones are named, and the services."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from socket import gethostname

import httpx
import psycopg
import redis
from rich.text import Text

from socialsync_cli.console import step
from socialsync_cli.embedded import EmbeddedPostgres, EmbeddedRedis
from socialsync_cli.folder import API_KEY, SERVICE_PASSWORD, DataFolder
from socialsync_cli.processes import free_port, port_is_free
from socialsync_cli.supervisor import Service, Supervisor
from socialsync_common.celery_app import create_celery
from socialsync_common.errors import ConfigError
from socialsync_common.migrate import migrate, read_url
from socialsync_common.settings import BrokerSettings, load

DEFAULT_PORT = 8000
SANDBOX_PORT_OFFSET = 100
NAMES = ("postgres", "redis", "sandbox", "gateway", "ingest", "scheduler", "comments", "beat")

_DATABASE = "socialsync"
_SERVICE_USER = "socialsync"
_SHARED = (
    *("DATABASE_URL", "MIGRATION_DATABASE_URL", "CELERY_BROKER_URL", "TOKEN_ENCRYPTION_KEYS"),
    *("META_APP_SECRET", "INSTAGRAM_APP_SECRET", "META_VERIFY_TOKEN"),
)
_HOST = "127.0.0.1"
# what each worker consumes, its tick lane first, and how many slots it has
_WORKERS = {
    "ingest": ("ingest.tick,ingest", 100),
    "scheduler": ("scheduler.tick,scheduler", 16),
    "comments": ("comments.tick,comments", 16),
}
_BEAT = ["celery", "--quiet", "-A", "socialsync_scheduler.beat", "beat"]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway and the sandbox listen."""

    gateway: int
    sandbox: int

    @property
    def gateway_url(self) -> str:
        return f"http://{_HOST}:{self.gateway}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{_HOST}:{self.sandbox}"


def choose_ports(port: int, *, sandbox: bool, may_move: bool) -> Ports:
    """``port`` and, for the sandbox, ``port`` + 100; free ones instead where it ``may_move``.

    Raises:
        ConfigError: one is taken; names it and the option.
    """
    wanted = Ports(port, port + SANDBOX_PORT_OFFSET)
    whose = {wanted.gateway: "the gateway's"}
    if sandbox:
        whose[wanted.sandbox] = f"the sandbox's, --port + {SANDBOX_PORT_OFFSET}"
    taken = [number for number in whose if not port_is_free(number, _HOST)]
    if not taken:
        return wanted
    if may_move:
        return Ports(free_port(), free_port())
    raise ConfigError(f"port {taken[0]} ({whose[taken[0]]}) is in use: choose another with --port")


class System:
    """Brought up by ``start``, taken down by its supervisor. ``environment`` is what the services get."""

    def __init__(
        self, folder: DataFolder, ports: Ports, supervisor: Supervisor, given: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._ports = ports
        self._supervisor = supervisor
        self.with_sandbox = not given.get("META_GRAPH_URL")
        self.environment: dict[str, str] = {
            "LOG_FORMAT": "console",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            # Celery's warning about root is about pickle, which is refused here
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
            **{name: value for name, value in folder.secrets().items() if not given.get(f"{name}_FILE")},
            **{name: value for name, value in given.items() if value},
        }
        self.environment.pop(
            API_KEY, None
        )  # what clients and the embedded server's role use is not for services
        self._service_password = self.environment.pop(SERVICE_PASSWORD)

    def start(self) -> None:
        """Servers, schema, services; returns when all are ready.

        Raises:
            SocialSyncError: one of them did not come up.
        """
        self._start_redis()
        self._start_postgres()
        if self.with_sandbox:
            self.environment |= {
                "META_GRAPH_URL": self._ports.sandbox_url,
                "SANDBOX_GATEWAY_URL": self._ports.gateway_url,
            }
            defaults = {
                "PUBLIC_URL": self._ports.gateway_url,
                # the sandbox logs people in to any app
                "META_APP_ID": "1000000000000001",
                "INSTAGRAM_APP_ID": "1000000000000002",
                "INSTAGRAM_APP_SECRET": self.environment.get("META_APP_SECRET", ""),
            }
            self.environment = {**defaults, **self.environment}
        services = self._services()
        step(f"starting {', '.join(service.name for service in services)}")
        for service in services:
            self._supervisor.start(service)
        for service in services:
            service.wait_ready()
        self._supervisor.watch()

    def _start_redis(self) -> None:
        if self.environment.get("CELERY_BROKER_URL"):
            step("using the Redis of CELERY_BROKER_URL")
            _must_answer_redis(load(BrokerSettings).redis_url)
            return
        server = EmbeddedRedis(self._folder.path / "redis")
        step("starting Redis")
        self._supervisor.start(server)
        self.environment["CELERY_BROKER_URL"] = server.url

    def _start_postgres(self) -> None:
        if self.environment.get("DATABASE_URL"):
            step("using the Postgres of DATABASE_URL")
            owner_url = self.environment.get("MIGRATION_DATABASE_URL")
            if owner_url:
                _must_answer_postgres("MIGRATION_DATABASE_URL", owner_url)
                self._migrate(owner_url, read_url("DATABASE_URL", self.environment["DATABASE_URL"]))
            else:
                step("MIGRATION_DATABASE_URL is not set: its schema stays as it is")
            _must_answer_postgres("DATABASE_URL", self.environment["DATABASE_URL"])
            return
        server = EmbeddedPostgres(self._folder.path / "postgres", {"max_connections": "200"})
        step("starting Postgres")
        self._supervisor.start(server)
        owner_url = server.ensure_database(_DATABASE)
        service = {"user": _SERVICE_USER, "password": self._service_password}
        self._migrate(owner_url, service)
        self.environment["DATABASE_URL"] = server.url_of(_DATABASE, _SERVICE_USER, self._service_password)

    def _migrate(self, owner_url: str, service: Mapping[str, object]) -> None:
        user, password = service.get("user"), service.get("password")
        applied = migrate(
            owner_url, None if user is None else str(user), None if password is None else str(password)
        )
        step(f"migrations: {', '.join(applied) if applied else 'up to date'}")

    def _services(self) -> list[Service]:
        ports = self._ports
        services = [
            self._service(
                "sandbox", _serve("sandbox", ports.sandbox), _answers(f"{ports.sandbox_url}/healthz")
            ),
            self._service("gateway", _serve("gateway", ports.gateway), gateway_ready(ports.gateway_url)),
            *(self._service(name, _worker(name), partial(self._worker_answers, name)) for name in _WORKERS),
            self._service("beat", _BEAT),
        ]
        return services if self.with_sandbox else services[1:]

    def _service(self, name: str, module: list[str], ready: Callable[[], object] = lambda: True) -> Service:
        return Service(
            name,
            [sys.executable, "-m", *module],
            {**os.environ, **self.environment},
            self._folder.logs / f"{name}.log",
            self._supervisor.say,
            ready,
        )

    def _worker_answers(self, name: str) -> bool:
        broker = BrokerSettings(celery_broker_url=self.environment["CELERY_BROKER_URL"])
        with create_celery(name, broker) as app:
            return bool(app.control.ping([f"{name}@{gethostname()}"], timeout=1, limit=1))

    @property
    def shared_environment(self) -> dict[str, str]:
        """The part of the environment that other commands need to reach this system."""
        return {name: self.environment[name] for name in _SHARED if name in self.environment}


def gateway_ready(url: str) -> Callable[[], bool]:
    return _answers(f"{url}/readyz")


def gateway_command(port: int) -> list[str]:
    return [sys.executable, "-m", *_serve("gateway", port)]


def _serve(service: str, port: int) -> list[str]:
    return [f"socialsync_{service}", "--host", _HOST, "--port", str(port)]


def _worker(name: str) -> list[str]:
    lanes, slots = _WORKERS[name]
    return [
        *("celery", "--quiet", "-A", f"socialsync_{name}", "worker", "-Q", lanes),
        *("--pool", "threads", "--concurrency", str(slots), "-n", f"{name}@%h"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def _answers(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(url, timeout=5, trust_env=False).is_success


def _must_answer_postgres(setting: str, url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise ConfigError(f"{setting}: cannot connect: {str(error).splitlines()[0]}") from None


def _must_answer_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        raise ConfigError(f"CELERY_BROKER_URL: no Redis answers: {error}") from None


def quiet(_name: str, _line: Text) -> None:
    """A voice for those whose lines are only wanted in the log."""
