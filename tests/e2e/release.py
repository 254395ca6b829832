"""The release under test: installed by Helm into a cluster, with the sandbox as a pod beside it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
from psycopg.rows import dict_row

from socialsync_cli.processes import free_port, spawn, stop
from socialsync_common.accounts import connect_account, create_api_key, tenant_id
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.settings import EncryptionSettings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "socialsync"
ACCOUNTS = {Platform.WHATSAPP: "100", Platform.INSTAGRAM: "200", Platform.MESSENGER: "300"}
INSTRUCTIONS = "We are a bakery. We open at 8 and close at 18. We deliver on Sundays."
Json = dict[str, Any]


@dataclass
class Release:
    """``helm`` and ``kubectl`` are binaries; all commands go to ``kubeconfig`` and ``namespace``."""

    helm: Path
    kubectl_binary: Path
    kubeconfig: Path
    values: list[Path]
    namespace: str = "socialsync"
    name: str = "socialsync"
    forwards: dict[str, tuple[subprocess.Popen[bytes], int]] = field(default_factory=dict)

    def run_helm(self, *arguments: str, check: bool = True) -> str:
        return self._run(self.helm, *arguments, check=check)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return self._run(self.kubectl_binary, *arguments, stdin=stdin, check=check)

    def _run(self, binary: Path, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [binary, "--namespace", self.namespace, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{binary.name} {' '.join(arguments)}: {done.stderr}\n{done.stdout[-2000:]}")
        return done.stdout if check else done.stdout + done.stderr

    def install(self, *more: str) -> None:
        self.run_helm("install", self.name, str(CHART), *self._value_files(), "--timeout", "5m", *more)

    def upgrade(self, *more: str, check: bool = True) -> str:
        arguments = (
            "upgrade",
            self.name,
            str(CHART),
            *self._value_files(),
            "--wait",
            "--timeout",
            "5m",
            *more,
        )
        return self.run_helm(*arguments, check=check)

    def _value_files(self) -> list[str]:
        return [part for file in self.values for part in ("--values", str(file))]

    # --- what is there

    def get(self, kind: str, *arguments: str) -> list[Json]:
        items: list[Json] = json.loads(self.kubectl("get", kind, *arguments, "-o", "json"))["items"]
        return items

    def pods(self, selector: str) -> list[Json]:
        return [
            each for each in self.get("pods", "-l", selector) if "deletionTimestamp" not in each["metadata"]
        ]

    def ready_pods(self, selector: str) -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in self.pods(selector)
            if any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in pod["status"].get("conditions", ())
            )
        ]

    def queue(self, name: str = "ingest") -> Json:
        found: Json = json.loads(self.kubectl("get", "ssq", name, "-o", "json"))
        return found

    def replicas(self, name: str = "ingest") -> int:
        return int(json.loads(self.kubectl("get", "deployment", name, "-o", "json"))["spec"]["replicas"])

    def lease_holder(self, name: str) -> str:
        """The pod that leads."""
        lease = json.loads(self.kubectl("get", "lease", name, "-o", "json"))
        return str(lease["spec"]["holderIdentity"]).split(":")[0]

    def secret(self, name: str, key: str) -> str:
        found = json.loads(self.kubectl("get", "secret", name, "-o", "json"))["data"][key]
        return base64.b64decode(found).decode()

    @contextmanager
    def following(self, selector: str) -> Iterator[Callable[[], dict[str, str]]]:
        """Keeps the logs of the pods that are there now, also of those that end; gives them by pod."""
        argv: list[str | Path] = [
            *(self.kubectl_binary, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace),
            *(
                "logs",
                "--follow",
                "--prefix",
                "--tail=-1",
                "--max-log-requests=20",
                "-c",
                "worker",
                "-l",
                selector,
            ),
        ]
        with tempfile.TemporaryFile() as output:
            process = spawn(argv, output=output)

            def read() -> dict[str, str]:
                found: dict[str, str] = {}
                size = os.fstat(output.fileno()).st_size
                for line in os.pread(output.fileno(), size, 0).decode().splitlines():
                    prefix, _, text = line.partition(" ")
                    pod = prefix.removeprefix("[pod/").split("/")[0]
                    found[pod] = f"{found.get(pod, '')}{text}\n"
                return found

            try:
                yield read
            finally:
                stop(process, (signal.SIGTERM, 5))

    # --- the way in

    def forward(self, target: str, port: int) -> int:
        """A port of this machine that leads to the pod or Service; opened anew when it has ended."""
        known = self.forwards.get(target)
        if known and known[0].poll() is None:
            return known[1]
        here = free_port()
        argv: list[str | Path] = [
            *(self.kubectl_binary, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace),
            *("port-forward", "--address", "127.0.0.1", target, f"{here}:{port}"),
        ]
        said, deadline = b"", time.monotonic() + 60
        while time.monotonic() < deadline:
            with tempfile.TemporaryFile() as output:
                process = spawn(argv, output=output)
                while process.poll() is None and time.monotonic() < deadline:
                    # not by the file's own position, which the child writes at
                    if b"Forwarding from" in (said := os.pread(output.fileno(), 65536, 0)):
                        self.forwards[target] = (process, here)
                        return here
                    time.sleep(0.1)
            time.sleep(0.5)
        raise AssertionError(f"no way to {target}: {said.decode()}")

    def close(self) -> None:
        for process, _ in self.forwards.values():
            stop(process, (signal.SIGTERM, 5))

    def sandbox(self, method: str, path: str, **options: Any) -> Any:
        port = self.forward("service/sandbox", 8100)
        response = httpx.request(method, f"http://127.0.0.1:{port}{path}", timeout=180, **options)
        response.raise_for_status()
        return response.json() if response.content else None

    def database_url(self, user: str, key: str) -> str:
        secret = f"{self.name}-postgresql"
        port = self.forward(f"pod/{secret}-0", 5432)
        return f"postgresql://{user}:{self.secret(secret, key)}@127.0.0.1:{port}/socialsync"

    def with_a_person(self) -> set[str]:
        """Contacts whom a person has to answer: nobody knows whether they got their reply."""
        with psycopg.connect(
            self.database_url("socialsync_owner", "POSTGRES_PASSWORD"), connect_timeout=5
        ) as known:
            rows = known.execute(
                "SELECT i.value FROM contact_identities i JOIN conversations c ON c.id = i.contact_id"
                " WHERE c.handler = 'person'"
            ).fetchall()
        return {value for (value,) in rows}

    def connect_accounts(self) -> None:
        """As an operator would, by the services' own role."""
        url = self.database_url("socialsync", "SERVICE_PASSWORD")
        keys = self.secret(self.name, "TOKEN_ENCRYPTION_KEYS")
        cipher = TokenCipher(EncryptionSettings(token_encryption_keys=keys))
        with psycopg.connect(url, row_factory=dict_row) as connection:
            for platform, external_id in ACCOUNTS.items():
                connect_account(
                    connection, cipher, tenant="Bakery", platform=platform, external_id=external_id,
                    name="Bakery", token=f"token-{external_id}", instructions=INSTRUCTIONS,
                )  # fmt: skip
        for platform, external_id in ACCOUNTS.items():
            account = {"platform": platform, "account_id": external_id, "token": f"token-{external_id}"}
            self.sandbox("POST", "/sandbox/accounts", json=account)

    def api(self, method: str, path: str, **options: Any) -> Json:
        """One request to the gateway's API, as the bakery's people send it."""
        headers = {"Authorization": f"Bearer {self._api_key}", **options.pop("headers", {})}
        port = self.forward(f"service/{self.name}-gateway", 80)
        url = f"http://127.0.0.1:{port}/api/v1{path}"
        response = httpx.request(method, url, headers=headers, timeout=60, **options)
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    @cached_property
    def _api_key(self) -> str:
        url = self.database_url("socialsync", "SERVICE_PASSWORD")
        with psycopg.connect(url, row_factory=dict_row) as connection:
            return create_api_key(connection, tenant_id("Bakery"), "e2e")

    def say(self, contact: str, text: str, platform: Platform = Platform.WHATSAPP) -> Json:
        body = {"platform": platform, "account": ACCOUNTS[platform], "contact": contact, "text": text}
        answer: Json = self.sandbox("POST", "/sandbox/users/say", json=body)
        return answer

    def answers(self) -> dict[str, int]:
        """Texts sent, by contact."""
        return dict(self.sandbox("GET", "/sandbox/counts")["contacts"])


@dataclass
class Load:
    """Contacts who write one message each, at ``rate`` a second, until stopped. In a thread of its own."""

    release: Release
    prefix: str
    rate: float = 4.0
    sent: dict[str, float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)

    def _run(self) -> None:
        count = 0
        while not self._stopping.wait(1 / self.rate):
            count += 1
            thread = threading.Thread(target=self._say, args=(f"{self.prefix}{count:05}",), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _say(self, contact: str) -> None:
        self.sent[contact] = time.monotonic()
        for delivery in self.release.say(contact, "When do you open?")["deliveries"]:
            self.statuses[delivery["status"]] += 1
            self.refusals.update(delivery["refusals"])

    def outcome(self, seconds: float = 90) -> Json:
        """Waits until everybody has an answer, or a person who sees that it is unknown; then what came of it."""
        until(lambda: not self._open(), seconds, "all answered")
        answers = self.release.answers()
        counts = [answers.get(contact, 0) for contact in self.sent]
        return {
            "sent": len(counts),
            "answered": sum(count > 0 for count in counts),
            "doubled": sum(count > 1 for count in counts),
            "to_a_person": counts.count(0),
            "lost": len(self._open()),
            "not_200_at_once": self.refusals.total() + sum(self.statuses.values()) - self.statuses[200],
            "refusals": dict(self.refusals),
            "longest_gap_s": round(self._longest_gap(), 1),
        }

    def _open(self) -> set[str]:
        """Who has neither."""
        answers = self.release.answers()
        unanswered = {contact for contact in self.sent if not answers.get(contact)}
        return unanswered - self.release.with_a_person() if unanswered else set()

    def _longest_gap(self) -> float:
        """Between two answers to these contacts, in seconds."""
        sent = self.release.sandbox("GET", "/sandbox/sent", params={"kind": "text"})
        times = sorted(each["at"] for each in sent if each["contact"] in self.sent)
        return max((after - before for before, after in pairwise(times)), default=0.0)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until ``condition`` is true; a failed look counts as not yet."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (AssertionError, httpx.HTTPError, psycopg.Error, KeyError, IndexError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.25)
    raise AssertionError(f"not within {seconds} s: {what}; last seen: {last!r}")
