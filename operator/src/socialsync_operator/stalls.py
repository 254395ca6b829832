"""Workers that live but no longer consume: free slots, work that waits, and no task taken for too long.

Redis clients have lost their subscription without noticing more than once; the pod looks healthy and does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from socialsync_common.workers import WorkerReport

STALL_SECONDS = 45.0  # above the 30 s that a worker may take to try Redis again after a long outage
_SILENT = -1


@dataclass(frozen=True, slots=True)
class Watch:
    """For each worker that should be taking tasks: what it had accepted, and since when that has not changed."""

    since: dict[str, tuple[int, float]] = field(default_factory=dict)

    def look(
        self, tasks: int, reports: Mapping[str, WorkerReport], ready: Iterable[str], now: float
    ) -> Watch:
        """With one more look. ``ready``: pods that ought to report."""
        if tasks == 0:
            return Watch()
        accepted = {
            name: report.accepted
            for name, report in reports.items()
            if not report.cordoned and max(report.active, report.reserved) < report.slots
        }
        accepted |= {name: _SILENT for name in ready if name not in reports}
        return Watch({name: (count, self._start(name, count, now)) for name, count in accepted.items()})

    def _start(self, name: str, accepted: int, now: float) -> float:
        before = self.since.get(name)
        return before[1] if before and before[0] == accepted else now

    def stalled(self, now: float) -> list[str]:
        """Those that have not moved for STALL_SECONDS, longest first."""
        stuck = [(since, name) for name, (_, since) in self.since.items() if now - since >= STALL_SECONDS]
        return [name for _, name in sorted(stuck)]
