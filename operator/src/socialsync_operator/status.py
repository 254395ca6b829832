"""A SocialSyncQueue's status: the numbers, the decision with all that led to it, and six conditions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from socialsync_operator.backlog import Backlog, Unreadable
from socialsync_operator.decide import Decision, Limit, Reason
from socialsync_operator.faults import Fault
from socialsync_operator.observation import Observation
from socialsync_operator.spec import Queue

Json = dict[str, Any]
State = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one turn found out. ``blocked``: why the replicas cannot be set at all."""

    backlog: Backlog | Unreadable
    seen: Observation
    decision: Decision
    blocked: Fault | None = None
    degraded: Fault | None = None
    last_scale: str | None = None


def build_status(queue: Queue, findings: Findings, previous: Json, now: datetime) -> Json:
    """The status to show; ``previous`` is the one shown so far, whose transition times go on."""
    seen, decision = findings.seen, findings.decision
    status: Json = {
        "observedGeneration": queue.generation,
        "queue": next(lane for lane in queue.lanes if not lane.endswith(".tick")),
        "replicas": seen.replicas,
        "readyReplicas": seen.ready,
        "desiredReplicas": decision.wanted,
        "decision": _decision(queue, findings),
        "lastScaleTime": findings.last_scale or previous.get("lastScaleTime"),
        "conditions": _conditions(queue, findings, previous.get("conditions", ()), now),
        **_numbers(findings, now),
    }
    return {name: value for name, value in status.items() if value is not None}


def gist(status: Json) -> tuple[Any, ...]:
    """What must be shown at once when it changes; numbers and sentences can wait for the next refresh."""
    decision = status.get("decision", {})
    return (
        *(
            status.get(name)
            for name in ("observedGeneration", "replicas", "readyReplicas", "desiredReplicas")
        ),
        *(decision.get(name) for name in ("reason", "limitedBy", "dryRun")),
        *((each["type"], each["status"], each["reason"]) for each in status.get("conditions", ())),
    )


def is_same(status: Json, stored: Json) -> bool:
    """Whether there is nothing to write: what is set to null, the API server does not store."""
    decision = {name: value for name, value in status["decision"].items() if value is not None}
    return {**status, "decision": decision} == stored


def explain(decision: Decision, seen: Observation) -> str:
    """The decision in a sentence."""
    if decision.reason is Reason.PAUSED:
        return f"paused: {decision.replicas} replicas stay"
    if decision.missing:
        kept = "stay" if decision.replicas <= seen.replicas else "are wanted"
        return f"{', '.join(decision.missing)} not known: {decision.replicas} replicas {kept}"
    age = f", the oldest for {seen.oldest_age:.0f} s" if seen.oldest_age else ""
    work = f"{seen.depth} wait{age}, {seen.in_flight} in flight"
    needed = decision.candidates.get("need", decision.replicas)
    text = f"{work}: {decision.reason} needs {needed}"
    if decision.limit and decision.replicas != needed:
        text += f", {decision.limit} makes it {decision.replicas}"
    if decision.wanted != decision.replicas:
        text += f" until workers are free, then {decision.wanted}"
    return text


def _numbers(findings: Findings, now: datetime) -> Json:
    backlog, seen = findings.backlog, findings.seen
    if isinstance(backlog, Unreadable):
        return {}
    waiting = backlog.tasks + backlog.due > 0 and backlog.oldest_age is not None
    since = now - timedelta(seconds=backlog.oldest_age or 0)
    return {
        "depth": backlog.tasks + backlog.due,
        "dueConversations": backlog.due,
        "inFlight": backlog.in_flight,
        "oldestWaitingSince": timestamp(since) if waiting else None,
        "idleReplicas": sum(report.idle for report in backlog.reports.values()),
        "slotsPerReplica": seen.slots,
        "arrivalsPerMinute": None if seen.arrival_rate is None else round(seen.arrival_rate * 60),
        "serviceTimeMilliseconds": None if seen.service_time is None else round(seen.service_time * 1000),
    }


def _decision(queue: Queue, findings: Findings) -> Json:
    decision = findings.decision
    shown: Json = {
        "reason": str(decision.reason),
        "limits": [str(limit) for limit in decision.limits],
        "message": explain(decision, findings.seen),
        "dryRun": queue.dry_run,
        "candidates": [
            {"name": name, "replicas": replicas} for name, replicas in decision.candidates.items()
        ],
    }
    # an absent key would leave the old one in a merge patch
    shown["limitedBy"] = str(decision.limit) if decision.limit else None
    return shown


def _conditions(queue: Queue, findings: Findings, previous: Any, now: datetime) -> list[Json]:
    before = {each["type"]: each for each in previous}
    found = {
        "Ready": _ready(findings),
        "Active": _active(findings),
        "ScalingLimited": _limited(findings.decision),
        "Paused": _paused(queue),
        "MetricsAvailable": _metrics(findings),
        "Degraded": _degraded(findings.degraded),
    }
    conditions = []
    for kind, (state, reason, message) in found.items():
        known = before.get(kind, {})
        since = known.get("lastTransitionTime") if known.get("status") == state else None
        conditions.append(
            {
                "type": kind,
                "status": state,
                "reason": reason,
                "message": message,
                "observedGeneration": queue.generation,
                "lastTransitionTime": since or timestamp(now),
            }
        )
    return conditions


def _ready(findings: Findings) -> tuple[State, str, str]:
    if findings.blocked:
        return "False", findings.blocked.reason, findings.blocked.message
    seen = findings.seen
    if seen.ready < seen.replicas:
        return "False", "WorkersStarting", f"{seen.ready} of {seen.replicas} workers are ready"
    return "True", "WorkersReady", f"{seen.ready} workers are ready"


def _active(findings: Findings) -> tuple[State, str, str]:
    backlog = findings.backlog
    if isinstance(backlog, Unreadable):
        return "Unknown", backlog.reason, "whether there is work cannot be told"
    if backlog.tasks + backlog.due + backlog.in_flight > 0:
        return "True", "WorkWaiting", "there is work"
    return "False", "NothingWaits", "nothing waits, runs or is scheduled"


def _limited(decision: Decision) -> tuple[State, str, str]:
    hard = {Limit.MAX, Limit.MIN, Limit.UP_POLICY, Limit.DOWN_POLICY, Limit.BUSY}
    if decision.limit in hard:
        return "True", str(decision.limit), f"{decision.limit} keeps it at {decision.replicas}"
    return "False", "WithinLimits", "no bound, policy or busy worker keeps the number from the needed one"


def _paused(queue: Queue) -> tuple[State, str, str]:
    if queue.scaling.paused:
        return "True", "PausedBySpec", "spec.paused is true: the replicas stay as they are"
    return "False", "NotPaused", "the replicas follow the queue"


def _metrics(findings: Findings) -> tuple[State, str, str]:
    if isinstance(findings.backlog, Unreadable):
        return "False", findings.backlog.reason, findings.backlog.message
    if findings.seen.missing:
        return (
            "False",
            "OldestAgeUnknown",
            "the oldest task has no queued_at header: send tasks with an app made by create_celery",
        )
    return "True", "QueueRead", "the queue can be read"


def _degraded(fault: Fault | None) -> tuple[State, str, str]:
    return ("True", fault.reason, fault.message) if fault else ("False", "AsExpected", "nothing is wrong")


def timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
