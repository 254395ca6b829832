"""The supervisor on real child processes: lines, restarts, order, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from rich.text import Text

from socialsync_cli.processes import spawn, stop
from socialsync_cli.supervisor import Service, Supervisor
from socialsync_cli.waiting import wait_until
from socialsync_common.errors import SocialSyncError

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


class Said:
    """Collects what would be printed."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def __call__(self, name: str, line: Text) -> None:
        with self._lock:
            self.lines.append((name, line.plain))

    def has(self, name: str, part: str) -> bool:
        return any(who == name and part in line for who, line in self.lines)


@pytest.fixture
def said() -> Said:
    return Said()


def service(name: str, program: str, folder: Path, said: Said, **options: object) -> Service:
    argv = [sys.executable, "-u", "-c", textwrap.dedent(program)]
    return Service(name, argv, os.environ, folder / f"{name}.log", said, **options)  # type: ignore[arg-type]


def test_lines_are_shown_with_their_name_and_logged_bare(tmp_path: Path, said: Said) -> None:
    program = r"import sys; print('\x1b[31mred\x1b[0m'); print(); sys.stderr.write('\xff bad\n')"
    one = service("one", program, tmp_path, said)
    one.start()
    wait_until(lambda: len(said.lines) == 2, 10, "two lines")
    one.stop()
    assert said.lines[0] == ("one", "red")
    assert (tmp_path / "one.log").read_text("utf-8").startswith("red\n")


def test_one_that_dies_is_said_and_started_again(tmp_path: Path, said: Said) -> None:
    supervisor = Supervisor(said)
    victim = service("victim", "import os, time; print(os.getpid()); time.sleep(60)", tmp_path, said)
    supervisor.start(victim)
    wait_until(lambda: said.lines, 10, "its first line")
    supervisor.watch()
    os.kill(int(said.lines[0][1]), signal.SIGKILL)
    wait_until(lambda: said.has("victim", "was killed by SIGKILL; starting again in 0.5 s"), 10, "the news")
    wait_until(lambda: victim.running and len(said.lines) == 3, 10, "the second start")
    assert said.lines[2][1] != said.lines[0][1]
    supervisor.stop()
    assert not victim.running


def test_a_crash_loop_slows_down(tmp_path: Path, said: Said) -> None:
    supervisor = Supervisor(said)
    supervisor.start(service("loop", "raise SystemExit(3)", tmp_path, said))
    supervisor.watch()
    wait_until(
        lambda: said.has("loop", "has exited with code 3; starting again in 1 s"), 20, "a second crash"
    )
    supervisor.stop()


def test_all_stop_in_reverse_order(tmp_path: Path, said: Said) -> None:
    program = """
        import signal, sys, time
        def leave(*_):
            print("bye"); sys.exit()
        signal.signal(signal.SIGTERM, leave)
        print("up"); time.sleep(60)
    """
    supervisor = Supervisor(said)
    for name in ("first", "second", "third"):
        supervisor.start(service(name, program, tmp_path, said))
    wait_until(lambda: len(said.lines) == 3, 10, "all to be up")
    supervisor.stop()
    assert [name for name, line in said.lines if line == "bye"] == ["third", "second", "first"]


def test_who_ignores_sigterm_is_killed_with_its_children(tmp_path: Path, said: Said) -> None:
    program = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid); time.sleep(60)
    """
    process = spawn([sys.executable, "-u", "-c", textwrap.dedent(program)], output=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        child = int(process.stdout.readline())
        assert stop(process, (signal.SIGTERM, 0.2)) == -signal.SIGKILL
    wait_until(lambda: is_gone(child), 10, "the grandchild to leave")


def test_one_that_fails_at_its_start_is_reported_with_its_last_line(tmp_path: Path, said: Said) -> None:
    broken = service(
        "broken", "print('A: is not set'); raise SystemExit(2)", tmp_path, said, ready=lambda: False
    )
    broken.start()
    with pytest.raises(SocialSyncError, match="broken stopped at its start: A: is not set"):
        broken.wait_ready()


def test_ready_is_waited_for(tmp_path: Path, said: Said) -> None:
    def probe() -> bool:
        if not said.has("slow", "up"):
            raise ConnectionError
        return True

    slow = service("slow", SLEEP, tmp_path, said, ready=probe)
    slow.start()
    slow.wait_ready()
    assert said.has("slow", "up")
    slow.stop()


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    program = f"""
        import subprocess, sys, time
        from socialsync_cli.processes import spawn
        print(spawn([sys.executable, "-c", {SLEEP!r}], output=subprocess.DEVNULL).pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    wait_until(lambda: is_gone(child), 10, "the orphan to leave")


def is_gone(pid: int) -> bool:
    """Gone, or a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
