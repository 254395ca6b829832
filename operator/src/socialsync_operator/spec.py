"""A SocialSyncQueue's spec, as the decisions need it. Defaults are the API server's: they stand in the CRD alone."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from socialsync_common.errors import PermanentError

SelectPolicy = Literal["Max", "Min", "Disabled"]
Json = dict[str, Any]

DEFAULT_TOLERANCE = 0.1
_QUANTITY_SUFFIXES = {"m": Decimal("0.001"), "": Decimal(1)}


class SpecError(PermanentError):
    """The spec cannot be read."""


@dataclass(frozen=True, slots=True)
class Policy:
    """At most ``value`` (Pods) or ``value`` percent of the replicas (Percent) within ``period`` seconds."""

    type: Literal["Pods", "Percent"]
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction of the HPA's ``behavior``. ``window`` is in seconds; no policies is no limit."""

    window: float = 0.0
    select: SelectPolicy = "Max"
    policies: tuple[Policy, ...] = ()
    tolerance: float = DEFAULT_TOLERANCE


# What an HPA assumes for what a given direction leaves out.
_HPA_UP = Rules(0, "Max", (Policy("Percent", 100, 15), Policy("Pods", 4, 15)))
_HPA_DOWN = Rules(300, "Max", (Policy("Percent", 100, 15),))
# What holds where a direction is not given at all: up at once, down after two quiet minutes.
UNLIMITED_UP = Rules()
CAREFUL_DOWN = Rules(window=120)


@dataclass(frozen=True, slots=True)
class Fallback:
    """After ``threshold`` failed reads in a row: at least ``replicas`` if ``raises``, else those there are."""

    threshold: int
    replicas: int
    raises: bool


@dataclass(frozen=True, slots=True)
class Scaling:
    """All that ``decide`` reads of a spec. Times are in seconds."""

    min: int
    max: int
    target_latency: float
    target_per_replica: int
    cooldown: float = 60.0
    max_busy_hold: float = 300.0
    up: Rules = UNLIMITED_UP
    down: Rules = CAREFUL_DOWN
    fallback: Fallback | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """One SocialSyncQueue. Its Deployment is its own (``worker``), or someone else's (``target``)."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    finalizers: tuple[str, ...]
    lanes: tuple[str, ...]
    polling: float
    dry_run: bool
    scaling: Scaling
    worker: Json | None
    target: str | None

    @property
    def deployment(self) -> str:
        return self.target or self.name

    @property
    def domain(self) -> str:
        """The service whose image consumes these lanes: ``ingest`` of ``ingest.tick``."""
        return self.lanes[0].split(".")[0]


def parse_queue(resource: Json) -> Queue:
    """Read a SocialSyncQueue as the API server returns it.

    Raises:
        SpecError: names the field at fault.
    """
    metadata, spec = resource["metadata"], resource["spec"]
    try:
        return Queue(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=int(metadata["generation"]),
            deleting="deletionTimestamp" in metadata,
            finalizers=tuple(metadata.get("finalizers", ())),
            lanes=tuple(queue["name"] for queue in spec["queues"]),
            polling=float(spec["pollingIntervalSeconds"]),
            dry_run=bool(spec["dryRun"]),
            scaling=_scaling(spec),
            worker=spec.get("worker"),
            target=spec["scaleTargetRef"]["name"] if "scaleTargetRef" in spec else None,
        )
    except KeyError as error:
        raise SpecError(f"spec.{error.args[0]} is missing: is the installed CRD of this version?") from None


def _scaling(spec: Json) -> Scaling:
    behavior = spec.get("behavior", {})
    fallback = spec.get("fallback")
    return Scaling(
        min=int(spec["minReplicas"]),
        max=int(spec["maxReplicas"]),
        target_latency=float(spec["targetLatencySeconds"]),
        target_per_replica=int(spec["targetPerReplica"]),
        cooldown=float(spec["cooldownSeconds"]),
        max_busy_hold=float(spec["maxBusyHoldSeconds"]),
        up=_rules(behavior["scaleUp"], _HPA_UP) if "scaleUp" in behavior else UNLIMITED_UP,
        down=_rules(behavior["scaleDown"], _HPA_DOWN) if "scaleDown" in behavior else CAREFUL_DOWN,
        fallback=fallback
        and Fallback(
            threshold=int(fallback["failureThreshold"]),
            replicas=int(fallback["replicas"]),
            raises=fallback["behavior"] == "currentReplicasIfHigher",
        ),
        paused=bool(spec["paused"]),
    )


def _rules(given: Json, missing: Rules) -> Rules:
    return Rules(
        window=float(given.get("stabilizationWindowSeconds", missing.window)),
        select=given.get("selectPolicy", missing.select),
        policies=tuple(
            Policy(policy["type"], int(policy["value"]), float(policy["periodSeconds"]))
            for policy in given.get("policies", ())
        )
        or missing.policies,
        tolerance=_quantity(given.get("tolerance", missing.tolerance)),
    )


def _quantity(value: str | float) -> float:
    """A Kubernetes quantity such as ``0.1`` or ``100m``."""
    text = str(value)
    suffix = text[-1] if text.endswith("m") else ""
    try:
        return float(Decimal(text.removesuffix(suffix)) * _QUANTITY_SUFFIXES[suffix])
    except InvalidOperation:
        raise SpecError(f"spec.behavior: tolerance {text!r} is none of 0.1, 100m and the like") from None
