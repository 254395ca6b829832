"""kopf's part: it keeps the watches alive and tells the loop what changed. Decisions never depend on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import kopf

from socialsync_operator.controller import Controller
from socialsync_operator.deployment import QUEUE_LABEL


class _Backoffs:
    """Seconds between tries, for as long as the API server may be away: a finite list would end the operator."""

    def __iter__(self) -> Iterator[float]:
        return chain((1.0, 2.0, 3.0), repeat(5.0))


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Watches that fall silent are begun anew; nothing is written to the resources by kopf itself."""
    settings.posting.enabled = False
    settings.scanning.disabled = True  # would need cluster-wide rights
    settings.peering.standalone = True
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    # one line for each event that came by says nothing
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    settings.networking.error_backoffs = _Backoffs()


@kopf.on.event("socialsync.ai", "v1alpha1", "socialsyncqueues")
def queue_changed(uid: str, name: str, meta: kopf.Meta, memo: kopf.Memo, **_: Any) -> None:
    _wake_if_new(memo, uid, name, meta)


@kopf.on.event("apps", "v1", "deployments", labels={QUEUE_LABEL: kopf.PRESENT})
def deployment_changed(uid: str, labels: kopf.Labels, meta: kopf.Meta, memo: kopf.Memo, **_: Any) -> None:
    _wake_if_new(memo, uid, labels[QUEUE_LABEL], meta)


def _wake_if_new(memo: kopf.Memo, uid: str, queue: str, meta: kopf.Meta) -> None:
    """A change of what is wanted, or a deletion; every status that we write ourselves comes by here too."""
    version = (meta.get("generation"), meta.get("deletionTimestamp"))
    if memo.versions.get(uid) != version:
        memo.versions[uid] = version
        controller: Controller = memo.controller
        controller.wake(queue)
