"""What the benches share: servers in a folder that goes away, percentiles, memory, and how busy the machine was.

Importing it makes ``stack`` (the system as processes) importable. Progress goes to stderr, the result is one line
of JSON on stdout.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg

BENCH = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH.parent / "tests"))

from load import SECRET, whatsapp_body  # noqa: E402
from plain import create_schema  # noqa: E402
from stack import Stack, free_port, running_stack, until  # noqa: E402

WEBHOOK_PATH = "/api/whatsapp/webhook"
QUESTION = "Hello, when do you open on Sunday?"
_STARTED = time.monotonic()
_TICKS = os.sysconf("SC_CLK_TCK")


def arguments(doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the result as well")
    return parser


def progress(text: str) -> None:
    print(f"{time.monotonic() - _STARTED:5.1f} s  {text}", file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> None:
    print(json.dumps(result), flush=True)


def goal(value: float, limit: float, *, at_least: bool = False) -> dict[str, Any]:
    """One goal of a result: ``value`` may be at most ``limit``, or must be ``at_least`` that."""
    met = value >= limit if at_least else value <= limit
    return {"value": value, "at_least" if at_least else "at_most": limit, "met": met}


@contextmanager
def bench_stack(**options: Any) -> Iterator[Stack]:
    """``running_stack`` in a folder of its own; on a fault, the services' logs go to stderr."""
    with (
        tempfile.TemporaryDirectory(prefix="socialsync-bench-") as folder,
        running_stack(Path(folder), META_APP_SECRET=SECRET.decode(), **options) as stack,
    ):
        # a cluster that has run for a while reuses its log segments; a fresh one would create each while it is timed
        stack.query(
            "CREATE TABLE warm_up AS SELECT repeat(md5(n::text), 30) AS filler FROM generate_series(1, 200000) AS n"
        )
        stack.query("DROP TABLE warm_up")
        stack.query("CHECKPOINT")
        try:
            yield stack
        except BaseException:
            print(stack.logs(), file=sys.stderr)
            raise


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def in_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max in milliseconds."""
    return {
        "p50_ms": round(1000 * percentile(seconds, 0.5), 2),
        "p99_ms": round(1000 * percentile(seconds, 0.99), 2),
        "max_ms": round(1000 * max(seconds), 2),
    }


def durability(stack: Stack) -> dict[str, Any]:
    """That commits are durable, and what a flush of one page costs where the data are (median, ms)."""
    found = {name: stack.query(f"SHOW {name}")[0][name] for name in ("fsync", "synchronous_commit")}
    if set(found.values()) != {"on"}:
        raise RuntimeError(f"commits are not durable: {found}")
    with (stack.folder / "flush").open("wb") as file:
        times = [time.perf_counter()]
        for _ in range(50):
            file.write(bytes(8192))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter())
    return {**found, "flush_ms": round(1000 * median(b - a for a, b in pairwise(times)), 3)}


# Messages -------------------------------------------------------------------------------------------


class Contacts:
    """Contacts of one account who write to one gateway, up to 16 at the same moment."""

    def __init__(self, port: int, account: str) -> None:
        self._port = port
        self._account = account
        self._writers = ThreadPoolExecutor(16, thread_name_prefix=f"contacts-{account}")

    def write(self, contact: str) -> float:
        """Post one message; returns when it was posted, in Unix seconds."""
        message_id = f"wamid.{self._account}.{contact}.{time.time_ns():x}"
        body = whatsapp_body(self._account, contact, message_id, QUESTION, int(time.time()))
        signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature}
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            posted = time.time()
            connection.request("POST", WEBHOOK_PATH, body, headers)
            status = connection.getresponse().status
        if status != 200:
            raise RuntimeError(f"the webhook answered {status}")
        return posted

    def write_at_once(self, contacts: Sequence[str]) -> dict[str, float]:
        """One message of each contact, as fast as they go; returns when each was posted."""
        return dict(zip(contacts, self._writers.map(self.write, contacts), strict=True))


def replies(stack: Stack, account: str, count: int, seconds: float) -> list[dict[str, Any]]:
    """Wait until the sandbox has accepted ``count`` texts of ``account``, or the time is up; returns them."""
    deadline = time.monotonic() + seconds
    while True:
        sent: list[dict[str, Any]] = stack.sent(account=account)
        if len(sent) >= count or time.monotonic() > deadline:
            return sent
        time.sleep(0.25)


# The machine ----------------------------------------------------------------------------------------


def tree(root: int) -> list[int]:
    """``root`` and all processes below it."""
    children: dict[int, list[int]] = {}
    for process, fields in _stats():
        children.setdefault(int(fields[1]), []).append(process)
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def memory_mib(processes: Sequence[int]) -> dict[str, float]:
    """RSS counts a shared page in each process, PSS shares it out; in MiB."""
    kib = {"Rss": 0, "Pss": 0}
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in kib:
                kib[name] += int(rest.split()[0])
    return {"rss_mib": round(kib["Rss"] / 1024, 1), "pss_mib": round(kib["Pss"] / 1024, 1)}


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Each process with the fields of its ``stat`` after the name: state, parent, …"""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue


def _busy_seconds() -> float:
    """CPU seconds that the whole machine has used."""
    user, nice, system, _idle, _wait, *rest = (
        int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / _TICKS


def _own_seconds() -> float:
    own = set(tree(os.getpid()))
    return sum(sum(map(int, fields[11:15])) for process, fields in _stats() if process in own) / _TICKS


class Noise:
    """CPU that processes other than this bench's used meanwhile: how far its figures can be trusted."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.monotonic(), _busy_seconds() - _own_seconds()

    def others_cores(self) -> float:
        """Cores that others kept busy since the start, on average."""
        (then, before), (now, after) = self._start, self._now()
        return round(max(0.0, (after - before) / (now - then)), 2)


def wait_for_quiet(seconds: float = 10.0, cores: float = 0.25) -> float:
    """Wait until others use fewer than ``cores``, at most ``seconds``; returns what they used last."""
    deadline = time.monotonic() + seconds
    while True:
        noise = Noise()
        time.sleep(1.0)
        used = noise.others_cores()
        if used <= cores or time.monotonic() >= deadline:
            return used


def run_load(port: int, accounts: Sequence[str], **options: Any) -> dict[str, Any]:
    """``load.py`` in a process of its own; returns its report and the CPU that others used meanwhile."""
    argv = [sys.executable, str(BENCH / "load.py"), "--port", str(port), "--accounts", ",".join(accounts)]
    for name, value in options.items():
        argv += [f"--{name}", str(value)]
    noise = Noise()
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=60)
    return {**json.loads(done.stdout), "others_cores": noise.others_cores()}


# The plain design -----------------------------------------------------------------------------------


class Plain:
    """The plain design (``plain.py``) beside the system, on the same servers and sandbox: ``number`` gives it a
    database and a Redis database of its own."""

    def __init__(self, stack: Stack, accounts: Sequence[str], number: int = 1) -> None:
        self.stack = stack
        self.port = free_port()
        self._name = f"plain{number}"
        url = stack.postgres.ensure_database(self._name)
        create_schema(url, list(accounts))
        self._environment = {
            "PLAIN_DATABASE_URL": url,
            "PLAIN_REDIS_URL": f"{stack.redis.url.removesuffix('/0')}/{number}",
            "PLAIN_GRAPH_URL": stack.sandbox_url,
            "PLAIN_AI_URL": f"{stack.sandbox_url}/ai/v1",
            "PLAIN_APP_SECRET": SECRET.decode(),
            "PYTHONPATH": str(BENCH),
        }

    def _add(self, part: str, *arguments: str) -> None:
        self.stack.add(f"{self._name}-{part}", list(arguments), **self._environment)

    def query(self, statement: str) -> Any:
        """The first column of the first row."""
        with psycopg.connect(self._environment["PLAIN_DATABASE_URL"]) as connection:
            row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None

    def start_web(self) -> None:
        self._add("web", "uvicorn", "plain:api", "--port", str(self.port), "--log-level", "warning")

    def wait_web(self) -> None:
        url = f"http://127.0.0.1:{self.port}/readyz"
        until(lambda: httpx.get(url).is_success, 20, "the plain application answers")

    def start_workers(self, *pool: str) -> None:
        """``pool``: Celery's options for it; none leaves its defaults."""
        self._add("worker", "celery", "-A", "plain", "worker", *pool)
        schedule = str(self.stack.folder / f"{self._name}-schedule")
        self._add("beat", "celery", "-A", "plain", "beat", "--schedule", schedule)

    def kill_workers(self) -> None:
        for part in ("beat", "worker"):
            self.stack.process(f"{self._name}-{part}").kill()
