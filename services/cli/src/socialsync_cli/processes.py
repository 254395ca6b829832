"""Child processes that never outlive the process that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from socialsync_common.errors import ConfigError

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
# The kernel ties the death signal to the *thread* that forks, so one lasting thread forks every child.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
# Below the range from which Linux takes the source ports of outgoing connections, so that a server that is
# down for a moment finds its port free again.
_FREE_PORTS = range(20_000, 32_000)


def spawn(
    argv: Sequence[str | Path],
    *,
    output: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: tuple[int, int] | None = None,
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` in a session (and so a process group) of its own.

    Args:
        output: where stdout and stderr both go, e.g. ``subprocess.PIPE``.
        user: (uid, gid) to run as; needs root.
        death_signal: what the child gets when this process dies, however it dies (Linux only).
    """
    parent = os.getpid()

    def tie_to_parent() -> None:  # runs in the child, after it has changed its user
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # it died before the tie was made
                os._exit(1)

    def fork() -> subprocess.Popen[bytes]:
        uid, gid = user or (None, None)
        return subprocess.Popen(  # noqa: S603 - no shell; the arguments are ours
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            user=uid,
            group=gid,
            extra_groups=None if user is None else [],
            start_new_session=True,
            preexec_fn=tie_to_parent,
        )

    return _SPAWNER.submit(fork).result()


def stop(process: subprocess.Popen[bytes], *signals: tuple[int, float]) -> int:
    """Send each (signal, seconds to wait) in turn until the process is gone, SIGKILL to its group at last.

    Returns:
        The exit code; negative for a signal.
    """
    if (code := process.poll()) is not None:
        return code
    for number, seconds in signals:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # also what it may have left behind
    return process.wait(10)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now.

    Raises:
        ConfigError: a hundred tries found none.
    """
    for _ in range(100):
        port = random.choice(_FREE_PORTS)  # noqa: S311 - not a secret
        if port_is_free(port):
            return port
    raise ConfigError(f"no free port between {_FREE_PORTS.start} and {_FREE_PORTS.stop} on 127.0.0.1")
