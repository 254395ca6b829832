"""A lock for the elector in a Kubernetes Lease, as client-go keeps it; other clients can read who leads.

A lapsed Lease is told by *not having changed* for its duration on our own monotonic clock, never by comparing the
times in it: the clocks of two nodes may be an hour apart. Each write carries the resourceVersion that it was
decided on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from socialsync_common.election import Timing
from socialsync_common.kubernetes_api import ApiError, ApiUnavailable, Json, KubernetesApi

REQUEST_SECONDS = 0.7
DURATION_SECONDS = 4


class LeaseLock:
    """The Lease ``name`` in ``namespace``; made by the first who asks. Not thread-safe: its elector's own."""

    timing = Timing(term=2.5, renew=0.8, retry=0.4)

    def __init__(
        self, api: KubernetesApi, namespace: str, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._lease: Json | None = None  # as last read or written
        self._seen_version: str | None = None
        self._seen_at = 0.0

    @property
    def _path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"

    def acquire(self, identity: str) -> int | None:
        lease = self._read()
        if lease is None:
            return self._write("POST", self._path, self._claimed({}, identity, transitions=0))
        spec = lease.get("spec", {})
        if spec.get("holderIdentity") not in (None, "", identity) and not self._lapsed(lease):
            return None
        transitions = int(spec.get("leaseTransitions") or 0)
        if spec.get("holderIdentity") != identity:
            transitions += 1
        claimed = self._claimed(lease["metadata"], identity, transitions)
        return self._write("PUT", f"{self._path}/{self._name}", claimed)

    def renew(self, identity: str) -> bool:
        if self._lease and self._put_renewed(self._lease):
            return True
        # changed by someone else, which may have been no more than an annotation
        lease = self._read()
        if lease is None or lease.get("spec", {}).get("holderIdentity") != identity:
            return False
        return self._put_renewed(lease)

    def release(self, identity: str) -> None:
        lease = self._read()
        if lease is None or lease.get("spec", {}).get("holderIdentity") != identity:
            return
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        self._write("PUT", f"{self._path}/{self._name}", lease)

    def _read(self) -> Json | None:
        try:
            return self._api.get(f"{self._path}/{self._name}")
        except ApiError as error:
            if error.not_found:
                return None
            raise _as_unavailable(error) from None

    def _lapsed(self, lease: Json) -> bool:
        now, version = self._clock(), str(lease["metadata"]["resourceVersion"])
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, now
        return now - self._seen_at >= float(lease["spec"].get("leaseDurationSeconds") or DURATION_SECONDS)

    def _claimed(self, metadata: Json, identity: str, transitions: int) -> Json:
        now = _now()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata or {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": identity,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }

    def _put_renewed(self, lease: Json) -> bool:
        renewed = {**lease, "spec": {**lease["spec"], "renewTime": _now()}}
        return self._write("PUT", f"{self._path}/{self._name}", renewed) is not None

    def _write(self, method: str, path: str, lease: Json) -> int | None:
        """Returns the Lease's transitions; None when someone else wrote first, or removed it."""
        try:
            self._lease = self._api.request(method, path, lease)
        except ApiError as error:
            self._lease = None
            if error.conflict or error.not_found:
                return None
            raise _as_unavailable(error) from None
        return int(self._lease["spec"].get("leaseTransitions") or 0)


def _as_unavailable(error: ApiError) -> ApiUnavailable:
    """A missing permission is no reason to crash: it is logged as an outage until it is granted."""
    return ApiUnavailable(str(error))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
