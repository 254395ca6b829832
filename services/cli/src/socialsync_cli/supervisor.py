"""Keeps named processes up, shows what they say, and stops them all in order."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

from rich.console import Console
from rich.text import Text

from socialsync_cli.console import PREFIX_COLOURS
from socialsync_cli.processes import spawn, stop
from socialsync_common.errors import SocialSyncError

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 15.0
_BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_FAULT = "ConfigError: "
_STEADY_SECONDS = 60.0  # who has lived so long starts over at the shortest pause


class Managed(Protocol):
    """What the supervisor keeps up; the embedded servers are such as they are."""

    @property
    def name(self) -> str: ...

    @property
    def running(self) -> bool: ...

    def start(self) -> object: ...

    def stop(self) -> None: ...


class Service:
    """One process in a group of its own. Each line it prints goes to ``say`` and, bare, to a log file.

    ``ready`` is polled after the start; an exception of it means not yet.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        say: Callable[[str, Text], None],
        ready: Callable[[], object] = lambda: True,
    ) -> None:
        self.name = name
        self._argv = argv
        self._environment = environment
        self._log = log
        self._say = say
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._last_lines: deque[str] = deque(maxlen=20)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        self._process = spawn(self._argv, output=subprocess.PIPE, env=self._environment)
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f"{self.name} output", daemon=True
        )
        self._reader.start()

    def wait_ready(self) -> None:
        """Raises SocialSyncError when it exits or does not get ready; with its last line."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            if not self.running:
                self._join()
                raise SocialSyncError(f"{self.name} stopped at its start{self._last_words()}")
            if time.monotonic() > deadline:
                raise SocialSyncError(
                    f"{self.name} was not ready after {_READY_SECONDS:.0f} s{self._last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process, (signal.SIGTERM, _GRACE_SECONDS))
            self._join()

    def kill(self) -> None:
        if self._process is not None:
            stop(self._process)

    def _is_ready(self) -> bool:
        try:
            return self.running and bool(self._ready())
        except Exception:  # noqa: BLE001 - whatever a probe raises means not yet
            return False

    def _read(self, stream: IO[bytes]) -> None:
        with stream, self._log.open("a", encoding="utf-8") as log:
            for raw in stream:
                line = Text.from_ansi(raw.decode("utf-8", "replace").rstrip("\r\n"))
                if not line.plain.strip():
                    continue
                log.write(f"{line.plain}\n")
                log.flush()
                self._last_lines.append(line.plain)
                self._say(self.name, line)

    def _join(self) -> None:
        if self._reader is not None:
            self._reader.join(2)

    def _last_words(self) -> str:
        """The configuration fault among its last lines, else the last one."""
        faults = [line.partition(_FAULT)[2] for line in self._last_lines if _FAULT in line]
        last = (faults or list(self._last_lines) or [""])[-1]
        return f": {last}" if last else ""


class Voice:
    """Lines under coloured name prefixes, aligned."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console = console
        self._width = max(len(name) for name in names)
        self._colours = dict(zip(names, PREFIX_COLOURS * len(names), strict=False))

    def __call__(self, name: str, line: Text) -> None:
        prefix = Text(f"{name:>{self._width}} │ ", style=self._colours.get(name, "bold"))
        self._console.print(prefix + line, soft_wrap=True)


@dataclass(slots=True)
class _Kept:
    """One managed process and its restarts."""

    managed: Managed
    started_at: float = 0.0
    failures: int = 0
    due_at: float | None = None  # when it is started again

    def pause(self, now: float) -> float:
        """Seconds until the next start; longer with each early death."""
        if now - self.started_at > _STEADY_SECONDS:
            self.failures = 0
        seconds = _BACKOFF_SECONDS[min(self.failures, len(_BACKOFF_SECONDS) - 1)]
        self.failures += 1
        return seconds


@dataclass
class Supervisor:
    """Starts in the order of ``start`` calls, restarts what dies once ``watch`` was called, stops in reverse."""

    say: Callable[[str, Text], None]
    _kept: list[_Kept] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    def start(self, managed: Managed) -> None:
        kept = _Kept(managed, time.monotonic())
        self._kept.append(kept)
        managed.start()

    def watch(self) -> None:
        """From now on a process that dies is started again, with growing pauses."""
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Stop all in reverse order. Further signals shorten the wait: they kill what is still there."""
        self._stopping.set()
        with _Impatience(self._kill_services):
            if self._watcher is not None:
                self._watcher.join(30)
            for kept in reversed(self._kept):
                kept.managed.stop()
        self._kept.clear()

    def _kill_services(self) -> None:
        for kept in self._kept:
            if isinstance(kept.managed, Service):
                kept.managed.kill()

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            now = time.monotonic()
            for kept in self._kept:
                self._tend(kept, now)

    def _tend(self, kept: _Kept, now: float) -> None:
        if kept.managed.running:
            return
        if kept.due_at is None:
            seconds = kept.pause(now)
            kept.due_at = now + seconds
            self.say(
                kept.managed.name, Text(f"{_end(kept.managed)}; starting again in {seconds:g} s", "bold red")
            )
        elif now >= kept.due_at:
            kept.due_at, kept.started_at = None, now
            try:
                kept.managed.start()
            except SocialSyncError as error:
                self.say(kept.managed.name, Text(str(error), "bold red"))


class _Impatience:
    """While it stops: another Ctrl-C does not interrupt, but calls ``hurry``."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        with suppress(ValueError):  # only the main thread takes signals
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._hurry()


def _end(managed: Managed) -> str:
    code = managed.exit_code if isinstance(managed, Service) else None
    if code is None:
        return "has died"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"has exited with code {code}"


def interrupt_on_signals() -> None:
    """SIGTERM and SIGHUP end the main thread as Ctrl-C does: by KeyboardInterrupt."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
