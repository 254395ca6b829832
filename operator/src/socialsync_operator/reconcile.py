"""One queue's turn: gather what is known, decide, apply. All that lasts between turns is in ``QueueState``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import redis
import structlog

from socialsync_common.kubernetes_api import ApiError, Json
from socialsync_common.workers import WorkerRegistry
from socialsync_operator import metrics
from socialsync_operator.backlog import Backlog, Unreadable
from socialsync_operator.cluster import FINALIZER, Cluster
from socialsync_operator.decide import Decision, Memory, decide
from socialsync_operator.deployment import deployment_manifest, digest
from socialsync_operator.faults import Fault, deployment_fault, pods_fault
from socialsync_operator.observation import Observation
from socialsync_operator.rates import Counters, Rates
from socialsync_operator.spec import Queue, Rules, Scaling
from socialsync_operator.stalls import Watch
from socialsync_operator.status import Findings, build_status, explain, gist, is_same, timestamp
from socialsync_operator.victims import is_there, parse_pod, plan_removal

REFRESH_SECONDS = 5.0
RESTART_SECONDS = 60.0
_DRAIN = Scaling(min=0, max=0, target_latency=1, target_per_replica=1, down=Rules())

log = structlog.get_logger()


@dataclass(slots=True)
class QueueState:
    """Of one queue, in this process."""

    memory: Memory = field(default_factory=Memory)
    rates: Rates = field(default_factory=Rates)
    watch: Watch = field(default_factory=Watch)
    applied: tuple[str, int] | None = None  # what was last applied, and the generation that it made
    cordoned: tuple[str, ...] = ()
    restarted_at: float | None = None
    looked_at: float = float("-inf")  # at the pods, for what is wrong with them
    fault: Fault | None = None
    last_scale: str | None = None
    written_at: float = float("-inf")
    due_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Turn:
    """What the controller has read for one queue. ``acts``: whether this replica may write, asked before each write."""

    queue: Queue
    resource: Json
    deployment: Json | None
    autoscaler: str | None
    backlog: Backlog | Unreadable
    now: float
    acts: Callable[[], bool]


class Reconciler:
    """Takes turns for any queue; thread-safe as long as one queue has one turn at a time."""

    def __init__(self, cluster: Cluster, client: redis.Redis, telemetry: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._client = client
        self._telemetry = telemetry

    def take(self, turn: Turn, state: QueueState) -> None:
        """Raises ApiUnavailable when the API server went away on the way; the next turn begins anew."""
        queue = turn.queue
        if queue.deleting:
            self._drain(turn, state)
            return
        blocked = self._ensure_deployment(turn, state) if queue.worker is not None else None
        deployment = turn.deployment
        if deployment is None:
            if blocked is None and queue.target is None:
                return  # made just now, or by another replica
            if blocked is None:
                blocked = Fault(
                    "TargetNotFound",
                    f"there is no Deployment {queue.target}: create it, or correct scaleTargetRef",
                )
            seen = self._observe(turn, state, replicas=0, ready=0)
            decision = Decision(0, 0, decide(queue.scaling, seen, Memory(), turn.now)[0].reason)
            self._show(turn, state, Findings(turn.backlog, seen, decision, blocked))
            return
        if turn.autoscaler is not None:
            blocked = Fault(
                "AnotherScaler",
                f"HorizontalPodAutoscaler {turn.autoscaler} scales {queue.deployment} too: delete it (or the "
                "ScaledObject that made it), two scalers undo each other's work",
            )
        self._scale(turn, state, deployment, blocked)

    # --- the Deployment

    def _ensure_deployment(self, turn: Turn, state: QueueState) -> Fault | None:
        """Create it, or put right what is ours in it. A new one stays paused until its replicas are set."""
        queue = turn.queue
        if not turn.acts():
            return None
        if FINALIZER not in queue.finalizers:
            self._cluster.set_finalizers(
                queue, turn.resource["metadata"]["resourceVersion"], [*queue.finalizers, FINALIZER]
            )
        manifest = deployment_manifest(queue, queue.worker or {}, self._telemetry)
        live = turn.deployment
        if live is None:
            manifest["spec"]["paused"] = True
        elif _is_new(live) or state.applied == (digest(manifest), live["metadata"]["generation"]):
            return None
        elif not _is_ours(live, queue):
            return Fault(
                "DeploymentNotOurs",
                f"a Deployment {queue.name} exists that this queue does not own: delete it, or name it in scaleTargetRef",
            )
        return self._apply(turn, state, manifest)

    def _apply(self, turn: Turn, state: QueueState, manifest: Json) -> Fault | None:
        live, wanted = turn.deployment, digest(manifest)
        try:
            made = self._cluster.apply_deployment(manifest)
        except ApiError as error:
            return Fault("DeploymentRefused", f"the API server refuses the Deployment: {error}")
        drifted = live and made["metadata"]["generation"] != live["metadata"]["generation"]
        if drifted and state.applied and state.applied[0] == wanted:
            self._record(
                turn, "Normal", "DriftCorrected", f"Deployment {turn.queue.name} was changed by someone else"
            )
        state.applied = (wanted, made["metadata"]["generation"])
        return None

    # --- the replicas

    def _scale(self, turn: Turn, state: QueueState, deployment: Json, blocked: Fault | None) -> None:
        queue = turn.queue
        replicas = int(deployment["spec"].get("replicas", 1))
        new = queue.worker is not None and _is_new(deployment)
        scaling = queue.scaling
        if new:
            scaling = replace(scaling, paused=False)
        elif blocked:
            scaling = replace(scaling, paused=True)
        ready = int(deployment.get("status", {}).get("readyReplicas", 0))
        seen = self._observe(turn, state, replicas=0 if new else replicas, ready=ready)
        decision, memory = decide(scaling, seen, state.memory, turn.now)
        pods = None
        if turn.acts() and not queue.dry_run and (decision.wanted < seen.replicas or state.cordoned):
            pods = self._cluster.pods(deployment)
            removable = self._prepare_removal(turn, state, pods, seen.replicas, decision.wanted)
            decision, memory = decide(scaling, replace(seen, removable=removable), state.memory, turn.now)
        state.memory = memory
        if turn.acts() and not queue.dry_run and not (blocked and not new):
            self._set_replicas(turn, state, replicas, decision, seen)
            if new:
                self._apply(turn, state, deployment_manifest(queue, queue.worker or {}, self._telemetry))
        degraded = self._look_for_faults(turn, state, deployment, seen, pods)
        self._show(turn, state, Findings(turn.backlog, seen, decision, blocked, degraded, state.last_scale))

    def _set_replicas(
        self, turn: Turn, state: QueueState, current: int, decision: Decision, seen: Observation
    ) -> None:
        replicas = decision.replicas
        if replicas == current:
            return
        if not self._cluster.scale(turn.queue.deployment, current, replicas):
            log.info("scale.conflict", queue=turn.queue.name, replicas=replicas)
            return
        if state.applied:  # this generation is of our own making
            state.applied = (state.applied[0], state.applied[1] + 1)
        if replicas == seen.replicas:
            return  # a new Deployment that starts asleep
        state.last_scale = timestamp(datetime.now(UTC))
        direction = "up" if replicas > seen.replicas else "down"
        message = f"{seen.replicas} to {replicas} replicas: {explain(decision, seen)}"
        log.info("scale", queue=turn.queue.name, message=message)
        metrics.SCALES.add(
            1, {"queue": turn.queue.name, "direction": direction, "reason": str(decision.reason)}
        )
        self._record(turn, "Normal", f"Scaled{direction.capitalize()}", message)

    def _prepare_removal(
        self, turn: Turn, state: QueueState, pods: list[Json], replicas: int, wanted: int
    ) -> int:
        """Cordon those that are to go and write the costs; returns how many may go now.

        As long as Kubernetes has not done what it was last told, everything stays: a pod that is about to go must
        neither be let loose nor be counted again.
        """
        there = [parse_pod(pod) for pod in pods if is_there(pod)]
        if isinstance(turn.backlog, Unreadable):
            return 0
        reports = turn.backlog.reports
        if len(there) != replicas:
            # also those that another leader cordoned, before it told Kubernetes to take them
            told = {name for name, report in reports.items() if report.cordoned}
            self._cordon(turn.queue, state, tuple(sorted(told.union(state.cordoned))))
            return 0
        plan = plan_removal(there, reports, max(0, replicas - wanted))
        leaving = {pod["metadata"]["name"] for pod in pods if not is_there(pod)}
        self._cordon(turn.queue, state, (*plan.cordon, *(name for name in state.cordoned if name in leaving)))
        if wanted < replicas:
            for name, cost in plan.costs.items():
                self._cluster.set_deletion_cost(name, cost)
        return plan.removable

    def _cordon(self, queue: Queue, state: QueueState, workers: tuple[str, ...]) -> None:
        try:
            WorkerRegistry(self._client, queue.name).cordon(workers)
        except redis.RedisError as error:
            log.warning("cordon.failed", queue=queue.name, error=str(error))
        else:
            state.cordoned = workers

    def _drain(self, turn: Turn, state: QueueState) -> None:
        """The queue is deleted: its own workers go as they become idle; a Deployment of others is left alone."""
        queue, deployment = turn.queue, turn.deployment
        if FINALIZER not in queue.finalizers or not turn.acts():
            return
        ours = queue.worker is not None and deployment is not None and _is_ours(deployment, queue)
        if ours and deployment is not None and int(deployment["spec"].get("replicas", 1)) > 0:
            drained = replace(
                queue,
                dry_run=False,
                scaling=replace(_DRAIN, max_busy_hold=queue.scaling.max_busy_hold),
            )
            self._scale(replace(turn, queue=drained), state, deployment, None)
            return
        if ours and deployment is not None:
            if any("deletionTimestamp" not in pod["metadata"] for pod in self._cluster.pods(deployment)):
                return
            self._cluster.delete_deployment(queue.name)
        rest = [each for each in queue.finalizers if each != FINALIZER]
        self._cluster.set_finalizers(queue, turn.resource["metadata"]["resourceVersion"], rest)

    # --- looking

    def _observe(self, turn: Turn, state: QueueState, replicas: int, ready: int) -> Observation:
        backlog = turn.backlog
        if isinstance(backlog, Unreadable):
            state.rates = Rates()
            return Observation(replicas, ready, depth=None, in_flight=None, oldest_age=None)
        depth = backlog.tasks + backlog.due
        waiting = depth + backlog.in_flight
        state.rates = state.rates.add(Counters(turn.now, waiting, backlog.completed, backlog.busy_ms))
        reports = backlog.reports.values()
        labels = {"queue": turn.queue.name}
        metrics.DEPTH.set(depth, labels)
        metrics.IN_FLIGHT.set(backlog.in_flight, labels)
        if backlog.oldest_age is not None:
            metrics.OLDEST_AGE.set(backlog.oldest_age, labels)
        return Observation(
            replicas=replicas,
            ready=ready,
            depth=depth,
            in_flight=backlog.in_flight,
            oldest_age=backlog.oldest_age,
            idle=all(report.idle for report in reports) if reports else None,
            arrivals=state.rates.arrivals,
            arrival_rate=state.rates.arrival_rate,
            service_time=state.rates.service_time,
            slots=_slots(backlog, turn.queue),
        )

    def _look_for_faults(
        self, turn: Turn, state: QueueState, deployment: Json, seen: Observation, pods: list[Json] | None
    ) -> Fault | None:
        """Pods that do not come up, and workers that are up and do nothing."""
        backlog, now = turn.backlog, turn.now
        silent = (
            not isinstance(backlog, Unreadable) and backlog.tasks > 0 and len(backlog.reports) < seen.ready
        )
        if seen.ready >= seen.replicas and not silent:
            state.fault = deployment_fault(deployment)
        elif pods is not None or now - state.looked_at >= REFRESH_SECONDS:
            state.looked_at = now
            pods = self._cluster.pods(deployment) if pods is None else pods
            state.fault = deployment_fault(deployment) or pods_fault(pods)
        if isinstance(backlog, Unreadable):
            state.watch = Watch()
            return state.fault
        ours = turn.queue.worker is not None
        ready = [pod.name for pod in map(parse_pod, pods or ()) if pod.ready and pod.running] if ours else []
        if silent and pods is None:  # not looked at this time: those silent so far still are
            ready = [name for name in state.watch.since if name not in backlog.reports]
        state.watch = state.watch.look(backlog.tasks, backlog.reports, ready, now)
        stalled = state.watch.stalled(now)
        if not stalled:
            return state.fault
        self._restart(turn, state, deployment, stalled[0])
        names = ", ".join(stalled[:3]) + (" …" if len(stalled) > 3 else "")
        return state.fault or Fault(
            "WorkersStalled", f"{names}: free slots, work waits, and nothing is taken; restarted one by one"
        )

    def _restart(self, turn: Turn, state: QueueState, deployment: Json, worker: str) -> None:
        """One at a time: the next only when the last one's successor has had time to take over."""
        if not turn.acts() or turn.queue.dry_run:
            return
        if state.restarted_at is not None and turn.now - state.restarted_at < RESTART_SECONDS:
            return
        for pod in self._cluster.pods(deployment):
            if pod["metadata"]["name"] == worker and is_there(pod):
                self._cluster.delete_pod(worker, pod["metadata"]["uid"])
                state.restarted_at = turn.now
                metrics.RESTARTS.add(1, {"queue": turn.queue.name})
                log.warning("worker.restarted", queue=turn.queue.name, worker=worker)
                message = f"{worker} had free slots while work waited, and took nothing: restarted"
                self._record(turn, "Warning", "WorkerRestarted", message)

    # --- showing

    def _show(self, turn: Turn, state: QueueState, findings: Findings) -> None:
        metrics.DESIRED.set(findings.decision.wanted, {"queue": turn.queue.name})
        if not turn.acts():
            return
        before: Json = turn.resource.get("status", {})
        status = build_status(turn.queue, findings, before, datetime.now(UTC))
        if gist(status) == gist(before) and turn.now - state.written_at < REFRESH_SECONDS:
            return
        if is_same(status, before):
            return
        absent = {name: None for name in before if name not in status}
        self._cluster.patch_status(turn.queue, {**status, **absent})
        state.written_at = turn.now
        for condition in _turned_bad(before, status):
            self._record(turn, "Warning", condition["reason"], condition["message"])

    def _record(self, turn: Turn, kind: str, reason: str, message: str) -> None:
        try:
            self._cluster.record(turn.queue, kind, reason, message)
        except ApiError as error:
            log.warning("event.refused", queue=turn.queue.name, reason=reason, error=str(error))


def _is_new(deployment: Json) -> bool:
    """Made by us, and not yet let go: its replicas are still the API server's default."""
    return bool(deployment["spec"].get("paused")) and not deployment.get("status", {}).get("replicas")


def _is_ours(deployment: Json, queue: Queue) -> bool:
    return any(owner["uid"] == queue.uid for owner in deployment["metadata"].get("ownerReferences", ()))


def _slots(backlog: Backlog, queue: Queue) -> int | None:
    """By the workers' word, else by the spec."""
    told = [report.slots for report in backlog.reports.values() if report.slots > 0]
    if told:
        return round(sum(told) / len(told))
    return int(queue.worker["concurrency"]) if queue.worker else None


def _turned_bad(before: Json, after: Json) -> list[Json]:
    """Conditions that someone has to know of, and that were otherwise before."""
    bad = {"Ready": "False", "MetricsAvailable": "False", "Degraded": "True"}
    known = {each["type"]: each for each in before.get("conditions", ())}
    return [
        each
        for each in after["conditions"]
        if bad.get(each["type"]) == each["status"]
        and each["reason"] != "WorkersStarting"
        and known.get(each["type"], {}).get("reason") != each["reason"]
    ]
