"""The sandbox as a process of its own, for tests whose code under test calls Meta."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from socialsync_cli.processes import free_port
from stack import until
from support import TEST_SECRETS


@dataclass(frozen=True)
class MetaSandbox:
    """Where it is, and its controls."""

    url: str

    def control(self, method: str, path: str, **options: Any) -> Any:
        response = httpx.request(method, f"{self.url}/sandbox/{path}", timeout=20, **options)
        response.raise_for_status()
        return response.json() if response.content else None

    def account(self, platform: str, account_id: str, token: str, **more: Any) -> None:
        self.control(
            "POST", "accounts", json={"platform": platform, "account_id": account_id, "token": token, **more}
        )

    def fault(self, step: str, kind: str, **more: Any) -> None:
        self.control("POST", "posting-faults", json={"step": step, "kind": kind, **more})

    def expire(self, token: str) -> None:
        self.control("POST", "tokens", json={"token": token, "state": "expired"})

    def subscriptions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.control("GET", "subscriptions")
        return found

    def lose_subscription(self, account: str) -> None:
        self.control("DELETE", "subscriptions", params={"account": account})

    def tokens(self, account: str) -> list[Any]:
        found: list[Any] = self.control("GET", "tokens", params={"account": account})
        return found

    def consent(self, authorization_url: str, choice: str) -> dict[str, str]:
        """What a person's browser brings back: the query of the address that it is sent to."""
        response = httpx.get(f"{authorization_url}&sandbox_choice={choice}", timeout=20)
        assert response.status_code == 302, response.text
        return dict(httpx.URL(response.headers["location"]).params)


@contextmanager
def sandbox_process() -> Iterator[MetaSandbox]:
    """Run it on a free port of this machine."""
    sandbox = MetaSandbox(f"http://127.0.0.1:{free_port()}")
    process = subprocess.Popen(
        [sys.executable, "-m", "socialsync_sandbox", "--port", sandbox.url.rpartition(":")[2]],
        env={**os.environ, **TEST_SECRETS, "SANDBOX_GATEWAY_URL": f"http://127.0.0.1:{free_port()}"},
    )
    try:
        until(lambda: httpx.get(f"{sandbox.url}/healthz").is_success, 30, "the sandbox answers")
        yield sandbox
    finally:
        process.terminate()
        process.wait(10)
