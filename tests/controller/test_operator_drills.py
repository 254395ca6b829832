"""Two replicas whose leader is killed, servers that are away, hundreds of scale-downs, hundreds of queues.

SCALE_DOWNS, QUEUES and OUTAGE_SECONDS make it longer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import redis

from control_plane import ControlPlane
from kubelet import Fleet, Kubelet, create_node
from operator_process import Operator, Replica, running_operator, until
from socialsync_cli.embedded import EmbeddedRedis
from socialsync_common.kubernetes_api import ApiError
from support import server_folder

pytestmark = [pytest.mark.integration, pytest.mark.drill]

SCALE_DOWNS = int(os.environ.get("SCALE_DOWNS", "30"))
QUEUES = int(os.environ.get("QUEUES", "300"))
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))
FLEETS = 10


@pytest.fixture
def pair(
    plane: ControlPlane, namespace: str, redis_server: EmbeddedRedis, redis_client: redis.Redis
) -> Iterator[Operator]:
    """Two replicas, one of which leads."""
    create_node(plane.api)
    with running_operator(plane, namespace, redis_server.url, "operator-a", "operator-b") as running:
        until(running.leader)
        yield running


def _standby(pair: Operator, leader: Replica) -> Replica:
    return next(each for each in pair.replicas if each is not leader)


@pytest.mark.parametrize(
    ("number", "limit"), [(signal.SIGKILL, 6.0), (signal.SIGSTOP, 6.0), (signal.SIGTERM, 3.0)]
)
def test_when_the_leader_is_gone_the_next_one_acts(
    pair: Operator, redis_client: redis.Redis, figures: dict[str, Any], number: signal.Signals, limit: float
) -> None:
    fleet = Fleet(redis_client, "ingest")
    with fleet, Kubelet(pair.plane.api, pair.namespace, fleet):
        pair.create(minReplicas=1)
        until(lambda: pair.ready() == 1)
        leader = pair.leader()
        assert leader
        leader.signal(number)
        gone = time.monotonic()
        fleet.send(400)
        until(lambda: pair.wanted() > 1)
        seconds = time.monotonic() - gone
        until(lambda: pair.leader() is _standby(pair, leader))
        figures[f"{number.name.lower()}_leader_s"] = round(seconds, 2)
        if number == signal.SIGSTOP:
            # it wakes up in the middle of its turn, and writes nothing
            changes = len(pair.events("ScaledUp"))
            leader.signal(signal.SIGCONT)
            until(lambda: leader.events("election.stood_down"))
            until(lambda: fleet.completed == 400)
            assert len(pair.events("ScaledUp")) >= changes
            assert pair.leader() is _standby(pair, leader)
        assert seconds < limit


@pytest.mark.timeout(400)
def test_servers_that_are_away_change_nothing_and_stop_nobody(
    plane: ControlPlane, namespace: str, figures: dict[str, Any]
) -> None:
    create_node(plane.api)
    with (
        server_folder() as folder,
        EmbeddedRedis(folder) as server,
        redis.Redis.from_url(server.url) as client,
        running_operator(plane, namespace, server.url, "operator-a", "operator-b") as operator,
    ):
        fleet = Fleet(client, "ingest")
        with fleet, Kubelet(plane.api, namespace, fleet):
            operator.create(
                minReplicas=1,
                maxReplicas=60,
                behavior={"scaleDown": {"stabilizationWindowSeconds": 600}},
            )
            fleet.send(300)
            until(lambda: operator.wanted() > 1)
            until(lambda: not fleet.backlog, 60)
            _away(operator, figures, "redis", server.kill, server.start, fleet)
            api_stop = partial(plane.stop, "kube-apiserver")
            _away(operator, figures, "api", api_stop, plane.start_apiserver, fleet)


def _away(
    operator: Operator,
    figures: dict[str, Any],
    name: str,
    stop: Callable[[], Any],
    start: Callable[[], Any],
    fleet: Fleet,
) -> None:
    before = operator.deployment()
    stop()
    gone = time.monotonic()
    while time.monotonic() - gone < OUTAGE_SECONDS:
        assert all(replica.process.poll() is None for replica in operator.replicas)
        time.sleep(0.5)
    start()
    back = time.monotonic()
    after = until(operator.deployment)
    assert after["spec"]["replicas"] == before["spec"]["replicas"]
    # it acts again, and knows the queue again
    fleet.send(1)
    operator.patch(minReplicas=before["spec"]["replicas"] + 1)
    until(lambda: operator.wanted() == before["spec"]["replicas"] + 1, 30)
    until(lambda: operator.condition("MetricsAvailable")["status"] == "True")
    figures[f"{name}_away_s"] = OUTAGE_SECONDS
    figures[f"{name}_back_s"] = round(time.monotonic() - back, 2)
    until(lambda: not fleet.backlog, 60)


@pytest.mark.timeout(1800)
def test_no_busy_worker_is_killed_by_a_scale_down(
    pair: Operator, plane: ControlPlane, namespace: str, redis_client: redis.Redis, figures: dict[str, Any]
) -> None:
    dice = random.Random(5)
    names = [f"ingest-{number}" for number in range(FLEETS)]
    fleets = {
        name: Fleet(redis_client, name, slots=2, task=lambda: dice.choice((0.05, 0.3, 1.0, 4.0)))
        for name in names
    }
    one_by_one = {"type": "Pods", "value": 1, "periodSeconds": 1}
    started = time.monotonic()
    with ExitStack() as stack:
        for fleet in fleets.values():
            stack.enter_context(fleet)
        stack.enter_context(Kubelet(plane.api, namespace, _ByQueue(fleets)))
        for name in names:
            pair.create(
                name,
                minReplicas=1,
                maxReplicas=10,
                targetLatencySeconds=2,
                behavior={"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [one_by_one]}},
            )
        while (done := len(pair.events("ScaledDown"))) < SCALE_DOWNS:
            # bursts and trickles, so that there is always someone busy when others are to go
            name = dice.choice(names)
            if fleets[name].backlog < 40:
                fleets[name].send(dice.choice((1, 2, 40)))
            time.sleep(0.05)
        downs = pair.events("ScaledDown")
    killed = [name for fleet in fleets.values() for name in fleet.killed_busy]
    ended = sum(len(fleet.stopped) for fleet in fleets.values())
    figures["scale_downs"] = {
        "count": max(done, len(downs)),
        "pods_ended": ended,
        "busy_killed": len(killed),
        "seconds": round(time.monotonic() - started),
    }
    assert len(downs) >= SCALE_DOWNS
    assert not killed


class _ByQueue:
    """Each pod runs a worker of its own queue's fleet."""

    def __init__(self, fleets: dict[str, Fleet]) -> None:
        self._fleets = fleets

    def start(self, pod: dict[str, Any]) -> bool:
        return self._fleets[pod["metadata"]["labels"]["socialsync.ai/queue"]].start(pod)

    def stop(self, pod: dict[str, Any]) -> bool:
        return self._fleets[pod["metadata"]["labels"]["socialsync.ai/queue"]].stop(pod)


@pytest.mark.timeout(300)
def test_hundreds_of_queues_on_one_operator(
    plane: ControlPlane,
    namespace: str,
    redis_server: EmbeddedRedis,
    redis_client: redis.Redis,
    figures: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    create_node(plane.api)
    with running_operator(plane, namespace, redis_server.url, "operator-a") as operator:
        names = [f"ingest-{number:03}" for number in range(QUEUES)]
        for name in names:
            operator.create(name)
        until(lambda: _all_awake(operator), 120)
        (replica,) = operator.replicas
        seen = len(replica.events("controller.passed"))
        cpu, at = replica.cpu_seconds, time.monotonic()
        until(lambda: len(replica.events("controller.passed")) >= seen + 25, 90)
        used = (replica.cpu_seconds - cpu) / (time.monotonic() - at)
        full = [
            each["seconds"]
            for each in replica.events("controller.passed")[seen:]
            if each["queues"] > QUEUES * 0.9
        ]
        Fleet(redis_client, names[7]).send(200)
        sent = time.monotonic()
        until(lambda: operator.wanted(names[7]) == 20)
        figures["many"] = {
            "queues": QUEUES,
            "pass_s": round(sorted(full)[len(full) // 2], 3),
            "pass_p90_s": round(sorted(full)[len(full) * 9 // 10], 3),
            "rss_mib": round(replica.rss_mib),
            "cpu_share": round(used, 2),
            "burst_s": round(time.monotonic() - sent, 2),
        }
    assert figures["many"]["pass_p90_s"] < 1
    assert figures["many"]["rss_mib"] < 200
    assert figures["many"]["burst_s"] < 2


def _all_awake(operator: Operator) -> bool:
    try:
        listed = operator.plane.api.get(f"/apis/apps/v1/namespaces/{operator.namespace}/deployments")["items"]
    except ApiError:
        return False
    return len(listed) == QUEUES and not any(each["spec"].get("paused") for each in listed)
