"""The data folder of ``socialsync run``: its secrets, its lock, and where the running system is."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from socialsync_common.errors import ConfigError

DEFAULT = Path(".socialsync")
API_KEY = "SOCIALSYNC_API_KEY"
SERVICE_PASSWORD = "SERVICE_PASSWORD"  # noqa: S105 - the name of one


@dataclass(frozen=True, slots=True)
class Running:
    """A system that ``run`` keeps up. ``environment`` has the settings that other commands need, secrets too."""

    pid: int
    gateway_url: str
    sandbox_url: str | None
    environment: dict[str, str]


class DataFolder:
    """Everything in it that holds secrets is readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._env = self.path / "env"
        self._running = self.path / "run.json"
        self._lock = self.path / "lock"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def env_path(self) -> Path:
        return self._env

    def secrets(self) -> dict[str, str]:
        """The settings that must stay the same from run to run, made at the first one.

        Raises:
            ConfigError: the file cannot be read, or a line of it is not ``NAME=value``.
        """
        known = self.read_secrets()
        missing = {name: value for name, value in _fresh_secrets().items() if name not in known}
        if missing:
            self.remember(missing)
        return {**known, **missing}

    def read_secrets(self) -> dict[str, str]:
        """As ``secrets``, without making any: empty where there is no such folder."""
        try:
            lines = self._env.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {self._env}: {error}") from None
        return dict(_parse(self._env, lines))

    def remember(self, values: Mapping[str, str]) -> None:
        """Add or replace secrets."""
        merged = {**self.read_secrets(), **values}
        _write_private(self._env, "".join(f"{name}={value}\n" for name, value in merged.items()))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run.

        Raises:
            ConfigError: another run holds it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            lock = self._lock.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}; choose another --data") from None
        with lock:
            if not _try_lock(lock.fileno()):
                raise ConfigError(
                    f"another `socialsync run` uses {self.path}: stop it first, or choose another --data"
                )
            try:
                yield
            finally:
                self._running.unlink(missing_ok=True)

    def announce(self, running: Running) -> None:
        """Let ``chat``, ``replay`` and the others find this system."""
        _write_private(self._running, json.dumps(asdict(running), indent=1))

    def running(self) -> Running | None:
        """The system that runs on this folder now, if one does."""
        try:
            with self._lock.open("a", encoding="utf-8") as lock:
                if _try_lock(lock.fileno()):  # nobody holds it: what is written there is a killed run's
                    return None
            return Running(**json.loads(self._running.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def _fresh_secrets() -> dict[str, str]:
    return {
        "META_APP_SECRET": secrets.token_hex(16),
        "META_VERIFY_TOKEN": secrets.token_urlsafe(16),
        "TOKEN_ENCRYPTION_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        SERVICE_PASSWORD: secrets.token_urlsafe(24),
    }


def _parse(path: Path, lines: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{path}: line {number} is not NAME=value")
        yield name.strip(), value.strip()


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(
        os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    scratch.replace(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
