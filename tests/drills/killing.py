"""Ways to kill a worker at an exact moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from drills.proxy import Proxy, When
from stack import Process, Stack, until


@dataclass(frozen=True)
class Held:
    """Kill while the platform holds a call: before it has an effect, or after it."""

    name: str
    step: str
    kind: str


@dataclass(frozen=True)
class Cut:
    """Kill when the worker's traffic with Postgres shows a statement, or its commit."""

    name: str
    patterns: tuple[bytes, ...]
    when: When


@contextmanager
def behind(stack: Stack, proxy: Proxy) -> Iterator[None]:
    """What is started meanwhile has its Postgres behind ``proxy``, and is patient with the platform."""
    direct = stack.environment
    url = direct["DATABASE_URL"].replace(f":{stack.postgres.port}/", f":{proxy.port}/")
    more = {"DATABASE_URL": url, "DATABASE_PREPARE": "false", "GRAPH_TIMEOUT_SECONDS": "30"}
    stack.environment = {**direct, **more}
    try:
        yield
    finally:
        stack.environment = direct


def arm(stack: Stack, worker: Process, proxy: Proxy, step: Held | Cut, count: int) -> Callable[[], None]:
    """Order the kill; what is returned waits for it. ``count``: how many reach the step together."""
    if isinstance(step, Cut):
        trigger = proxy.arm(list(step.patterns), step.when, worker.kill)

        def cut() -> None:
            assert trigger.fired.wait(60), f"never reached: {step.name}\n{stack.logs()}"

        return cut
    order = {"step": step.step, "kind": step.kind, "times": count}
    stack.sandbox("POST", "/sandbox/posting-faults", json=order)

    def held() -> None:
        until(lambda: stack.sandbox("GET", "/sandbox/posting-faults")["held"] >= count, 60, step.name)
        worker.kill()
        stack.sandbox("DELETE", "/sandbox/posting-faults")
        stack.sandbox("POST", "/sandbox/release")

    return held
