"""The whole system as real processes, for drills and benches: started, killed and restarted at will."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import redis
from psycopg.rows import dict_row

from socialsync_cli.embedded import EmbeddedPostgres, EmbeddedRedis
from socialsync_cli.processes import free_port
from socialsync_common.accounts import Account, connect_account
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.migrate import migrate
from socialsync_common.settings import EncryptionSettings

T = TypeVar("T")
SERVICE_USER = "socialsync"
INSTRUCTIONS = "We are a bakery. We open at 8 and close at 18. We deliver on Sundays. Bread costs 3 euros."


def until(condition: Callable[[], T], seconds: float, what: str, every: float = 0.05) -> T:
    """Wait until ``condition`` is true and return it; an exception counts as not yet."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (httpx.TransportError, OSError, psycopg.Error, redis.RedisError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}; last seen: {last!r}")


@dataclass
class Process:
    """One service process in a group of its own, its output in a file."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """kill -9, children included."""
        if self.popen and self.popen.poll() is None:
            self.signal(signal.SIGKILL)
            self.popen.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self, seconds: float = 10) -> None:
        if self.popen and self.popen.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Stack:
    """Postgres, Redis, gateway, ingest worker, Beat and sandbox on free ports of this machine."""

    folder: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    environment: dict[str, str]
    owner_url: str
    gateway_port: int
    sandbox_port: int
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    def process(self, name: str) -> Process:
        return self.processes[name]

    def add(self, name: str, arguments: list[str], **environment: str) -> Process:
        process = Process(name, arguments, {**self.environment, **environment}, self.folder / f"{name}.log")
        self.processes[name] = process
        process.start()
        return process

    def start_sandbox(self) -> None:
        self.add("sandbox", ["socialsync_sandbox", "--host", "127.0.0.1", "--port", str(self.sandbox_port)])
        until(lambda: httpx.get(f"{self.sandbox_url}/healthz").is_success, 20, "the sandbox answers")

    def start_gateway(self) -> None:
        self.add("gateway", ["socialsync_gateway", "--host", "127.0.0.1", "--port", str(self.gateway_port)])
        self.wait_gateway()

    def wait_gateway(self) -> None:
        until(lambda: httpx.get(f"{self.gateway_url}/readyz").is_success, 30, "the gateway is ready")

    def start_worker(self, name: str = "worker", concurrency: int = 32) -> None:
        self._start_celery("ingest", name, concurrency)

    def start_scheduler(self, name: str = "scheduler", concurrency: int = 16) -> Process:
        return self._start_celery("scheduler", name, concurrency)

    def start_comments(self, name: str = "comments", concurrency: int = 16) -> Process:
        return self._start_celery("comments", name, concurrency)

    def _start_celery(self, service: str, name: str, concurrency: int) -> Process:
        """A worker of the service's lanes; returns when it is ready."""
        process = self.add(
            name,
            ["celery", "-A", f"socialsync_{service}", "worker", "-Q", f"{service}.tick,{service}",
             "--pool", "threads", "--concurrency", str(concurrency), "--without-gossip", "--without-mingle",
             "--without-heartbeat", "-n", f"{name}@%h"],
        )  # fmt: skip
        self.wait_worker(name)
        return process

    def wait_worker(self, name: str) -> None:
        log = self.processes[name].log
        until(lambda: b" ready." in log.read_bytes(), 30, f"{name} is ready")

    def start_beat(self) -> None:
        self.add("beat", ["celery", "-A", "socialsync_scheduler.beat", "beat"])

    def start_all(self, concurrency: int = 32) -> None:
        self.start_sandbox()
        self.start_gateway()
        self.start_worker(concurrency=concurrency)
        self.start_beat()

    def connect(
        self, external_id: str, tenant: str = "Bakery", platform: Platform = Platform.WHATSAPP
    ) -> Account:
        cipher = TokenCipher(
            EncryptionSettings(token_encryption_keys=self.environment["TOKEN_ENCRYPTION_KEYS"])
        )
        with self.connection() as connection:
            account = connect_account(
                connection, cipher, tenant=tenant, platform=platform, external_id=external_id,
                name=tenant, token=f"token-{external_id}", instructions=INSTRUCTIONS,
            )  # fmt: skip
        if "sandbox" in self.processes:
            self.sandbox("POST", "/sandbox/accounts", json={"platform": platform, "account_id": external_id})
        return account

    def connection(self) -> psycopg.Connection[dict[str, Any]]:
        """As the services log in."""
        return psycopg.connect(self.environment["DATABASE_URL"], row_factory=dict_row)

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.owner_url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def redis_client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis.url)

    def sandbox(self, method: str, path: str, **options: Any) -> Any:
        # no TLS here, and loading certificates would take longer than the call
        response = httpx.request(method, f"{self.sandbox_url}{path}", timeout=600, verify=False, **options)  # noqa: S501
        response.raise_for_status()
        return response.json() if response.content else None

    def say(self, account: str, contact: str, text: str | None, **more: Any) -> Any:
        body = {
            "platform": "whatsapp",
            "account": account,
            "contact": contact,
            **({"text": text} if text else {}),
            **more,
        }
        return self.sandbox("POST", "/sandbox/users/say", json=body)

    def posts(self, **filters: Any) -> list[dict[str, Any]]:
        return self.sandbox("GET", "/sandbox/posts", params=filters)  # type: ignore[no-any-return]

    def sent(self, **filters: Any) -> list[dict[str, Any]]:
        return self.sandbox("GET", "/sandbox/sent", params={"kind": "text", **filters})  # type: ignore[no-any-return]

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.stop()

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in self.folder.glob("*.log")
        )


@contextmanager
def running_stack(folder: Path, *, model: bool = False, **environment: str) -> Iterator[Stack]:
    """Servers and settings, no service yet. ``model``: the sandbox's OpenAI-compatible model answers."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        postgres = cleanup.enter_context(EmbeddedPostgres(folder / "postgres", {"max_connections": "200"}))
        broker = cleanup.enter_context(EmbeddedRedis(folder / "redis"))
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE socialsync")
        owner_url = postgres.url_of("socialsync")
        migrate(owner_url, SERVICE_USER, "socialsync")
        sandbox_port, gateway_port = free_port(), free_port()
        values = {
            "DATABASE_URL": postgres.url_of("socialsync", SERVICE_USER),
            "CELERY_BROKER_URL": broker.url,
            "META_APP_SECRET": secrets.token_hex(16),
            "INSTAGRAM_APP_SECRET": secrets.token_hex(16),
            "META_VERIFY_TOKEN": "verify-me",
            "META_GRAPH_URL": f"http://127.0.0.1:{sandbox_port}",
            "SANDBOX_GATEWAY_URL": f"http://127.0.0.1:{gateway_port}",
            "PUBLIC_URL": f"http://127.0.0.1:{gateway_port}",
            "META_APP_ID": "1000000000000001",
            "INSTAGRAM_APP_ID": "1000000000000002",
            "TOKEN_ENCRYPTION_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        if model:
            values |= {"AI_BASE_URL": f"http://127.0.0.1:{sandbox_port}/ai/v1", "AI_MODEL": "sandbox"}
        stack = Stack(
            folder, postgres, broker, {**values, **environment}, owner_url, gateway_port, sandbox_port
        )
        cleanup.callback(stack.stop)
        yield stack
