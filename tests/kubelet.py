"""Plays the kubelet of one node for a test: pods that the scheduler binds come up, and end when they are told to.

What runs in a pod is a worker of the test's: simulated (``Fleet``), or a real process.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import redis

from socialsync_common.kubernetes_api import MERGE_PATCH, ApiError, ApiUnavailable, KubernetesApi
from socialsync_common.workers import WorkerRegistry, WorkerReport

Json = dict[str, Any]
NODE = "node"
_PASS_SECONDS = 0.05


class Runtime(Protocol):
    """What runs in the pods. ``start`` and ``stop`` return whether it is up, and whether it has ended."""

    def start(self, pod: Json) -> bool: ...

    def stop(self, pod: Json) -> bool: ...


def create_node(api: KubernetesApi) -> None:
    """One node with room for everything."""
    room = {"cpu": "1000", "memory": "1000Gi", "pods": "10000"}
    with contextlib.suppress(ApiError):
        api.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it plays one"}]
    status = {"status": {"capacity": room, "allocatable": room, "conditions": conditions}}
    api.request("PATCH", f"/api/v1/nodes/{NODE}/status", status, content_type=MERGE_PATCH)


class Kubelet:
    """Of the pods in one namespace, in a thread of its own."""

    def __init__(self, api: KubernetesApi, namespace: str, runtime: Runtime) -> None:
        self._api = api
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._runtime = runtime
        self._states: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self.ended: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_PASS_SECONDS):
            with contextlib.suppress(ApiUnavailable, ApiError):
                for pod in self._api.get(self._pods)["items"]:
                    self._look_after(pod)

    def _look_after(self, pod: Json) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            if self._states.get(uid) != "ended" and self._runtime.stop(pod):
                self._states[uid] = "ended"
                self.ended.append(name)
                self._api.request("DELETE", f"{self._pods}/{name}", {"gracePeriodSeconds": 0})
        elif "nodeName" in pod["spec"] and self._states.get(uid) != "running" and self._runtime.start(pod):
            self._states[uid] = "running"
            self.set_status(name, running_status(pod))

    def set_status(self, pod: str, status: Json) -> None:
        self._api.request("PATCH", f"{self._pods}/{pod}/status", {"status": status}, content_type=MERGE_PATCH)


def running_status(pod: Json, *, ready: bool = True) -> Json:
    state = {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}
    word = "True" if ready else "False"
    return {
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": word, "lastTransitionTime": pod["metadata"]["creationTimestamp"]},
            {"type": "ContainersReady", "status": word},
        ],
        "containerStatuses": [_container(pod, state, ready=ready)],
    }


def waiting_status(pod: Json, reason: str, message: str) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [_container(pod, state, ready=False)]}


def _container(pod: Json, state: Json, *, ready: bool) -> Json:
    container = pod["spec"]["containers"][0]
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "restartCount": 0,
        "state": state,
    }


@dataclass
class _Worker:
    name: str
    slots: int
    running: list[tuple[float, str]] = field(default_factory=list)  # when each task ends, and its tag
    accepted: int = 0
    completed: int = 0
    busy_since: float = field(default_factory=time.monotonic)
    busy: float = 0.0
    cordoned: bool = False
    reported: float = 0.0
    mute: bool = False  # lives, and neither consumes nor reports


class Fleet:
    """Simulated workers of one queue: they take messages from real lists, report and obey cordons by the real code."""

    def __init__(
        self, client: redis.Redis, queue: str, *, slots: int = 4, task: Callable[[], float] = lambda: 0.2
    ) -> None:
        self._client: Any = client
        self._queue = queue
        self._slots = slots
        self._task = task  # seconds that the next one takes
        self._registry = WorkerRegistry(client, queue)
        self._workers: dict[str, _Worker] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)
        self.killed_busy: list[str] = []
        self.stopped: list[str] = []
        self.holding = False  # report, and take nothing
        self.completed = 0
        self.waits: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._workers)

    def start(self, pod: Json) -> bool:
        name = pod["metadata"]["name"]
        with self._lock:
            self._workers.setdefault(name, _Worker(name, self._slots))
        return True

    def stop(self, pod: Json) -> bool:
        name = pod["metadata"]["name"]
        with self._lock:
            worker = self._workers.pop(name, None)
        if worker is not None:
            self.stopped.append(name)
            if worker.running:
                self.killed_busy.append(name)
        self._registry.leave(name)
        return True

    @property
    def backlog(self) -> int:
        """Messages that wait or are held."""
        return int(
            self._client.llen(f"celery:{self._queue}") + self._client.hlen(f"celery:unacked:{self._queue}")
        )

    def mute(self, name: str) -> None:
        with self._lock:
            self._workers[name].mute = True

    def send(self, count: int) -> None:
        """Messages as kombu lays them out, as far as the operator reads them."""
        batch = self._client.pipeline(transaction=False)
        for _ in range(count):
            queued = {"queued_at": round(time.time() * 1000)}
            batch.lpush(f"celery:{self._queue}", json.dumps({"headers": queued, "body": ""}))
        batch.execute()

    def _run(self) -> None:
        while not self._stopping.wait(_PASS_SECONDS):
            with self._lock, contextlib.suppress(redis.RedisError):
                workers = list(self._workers.values())
                random.shuffle(workers)
                for worker in workers:
                    if not worker.mute:
                        self._pass(worker)

    def _pass(self, worker: _Worker) -> None:
        now = time.monotonic()
        worker.busy += len(worker.running) * (now - worker.busy_since)
        worker.busy_since = now
        done = [tag for end, tag in worker.running if end <= now]
        if done:
            worker.running = [(end, tag) for end, tag in worker.running if end > now]
            self._client.hdel(f"celery:unacked:{self._queue}", *done)
            worker.completed += len(done)
            self.completed += len(done)
        while not (self.holding or worker.cordoned) and len(worker.running) < worker.slots:
            message = self._client.rpop(f"celery:{self._queue}")
            if message is None:
                break
            tag = f"{worker.name}-{worker.accepted}"
            self._client.hset(f"celery:unacked:{self._queue}", tag, message)
            self.waits.append(time.time() - json.loads(message)["headers"]["queued_at"] / 1000)
            worker.accepted += 1
            worker.running.append((now + self._task(), tag))
        if now - worker.reported >= 0.3:
            worker.reported = now
            report = WorkerReport(
                slots=worker.slots,
                active=len(worker.running),
                reserved=len(worker.running),
                accepted=worker.accepted,
                cordoned=worker.cordoned,
            )
            worker.cordoned = self._registry.report(
                worker.name, report, worker.completed, round(worker.busy * 1000)
            )
            worker.completed, worker.busy = 0, 0.0
