"""What was read of one queue and its workers at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class Observation:
    """None is *not known*, which is never taken for zero.

    ``depth`` counts waiting tasks over all lanes and priorities, and due conversations; ``in_flight`` what workers
    hold, scheduled retries included; ``oldest_age`` is in seconds. ``arrivals``: tasks that came since the last
    read. ``arrival_rate`` is in tasks a second, ``service_time`` in seconds, ``slots`` those of one replica; where
    these are not known yet, the target per replica decides. ``removable``: replicas that Kubernetes would take
    next and that have no work.
    """

    replicas: int
    ready: int
    depth: int | None
    in_flight: int | None
    oldest_age: float | None
    idle: bool | None = None
    arrivals: int | None = None
    arrival_rate: float | None = None
    service_time: float | None = None
    slots: int | None = None
    removable: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """The metrics that no decision can do without, and that are not known or cannot be."""
        needed: dict[str, float | None] = {
            "depth": self.depth,
            "inFlight": self.in_flight,
            "oldestAge": self.oldest_age,
        }
        return tuple(
            name for name, value in needed.items() if value is None or not isfinite(value) or value < 0
        )
