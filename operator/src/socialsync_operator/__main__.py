"""``python -m socialsync_operator``: in as many replicas as you like; exactly one acts."""

from __future__ import annotations

import os
import socket
from typing import Any, cast

import kopf
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from socialsync_common.election import Elector
from socialsync_common.errors import ConfigError
from socialsync_common.health import HealthServer
from socialsync_common.kubernetes_api import KubernetesApi, own_namespace
from socialsync_common.lease import REQUEST_SECONDS, LeaseLock
from socialsync_common.logging import configure_logging
from socialsync_common.settings import (
    BrokerSettings,
    ElectionSettings,
    WorkerSettings,
    exit_on_config_error,
    load,
)
from socialsync_operator import handlers  # noqa: F401 - registers them
from socialsync_operator.backlog import BacklogReader
from socialsync_operator.cluster import Cluster
from socialsync_operator.controller import Controller
from socialsync_operator.deployment import shared_telemetry
from socialsync_operator.reconcile import Reconciler

LEASE = "socialsync-operator"
API_SECONDS = 5.0
REDIS_SECONDS = 2.0


def main() -> None:
    configure_logging("operator")
    try:
        _run()
    except ConfigError as error:
        exit_on_config_error(error)


def _run() -> None:
    election = load(ElectionSettings)
    namespace = own_namespace(election.pod_namespace)
    lock = LeaseLock(KubernetesApi.load(REQUEST_SECONDS), namespace, election.lease_name or LEASE)
    identity = f"{election.pod_name or socket.gethostname()}:{os.getpid()}"
    elector = Elector(lock, identity)
    controller = _controller(namespace, elector)
    health_port = load(WorkerSettings).health_port
    if health_port is not None:
        HealthServer(health_port, {"/livez": controller.stuck, "/readyz": controller.stuck}).start()
    elector.start()
    controller.start()
    try:
        kopf.run(
            registry=kopf.get_default_registry(),
            namespaces=[namespace],
            memo=kopf.Memo(controller=controller, versions={}),
            standalone=True,
            identity=cast("Any", identity),  # else kopf looks up a user name, which a container need not have
        )
    finally:
        # the lock last: whoever gets it must find no one else writing
        controller.stop()
        elector.stop()


def _controller(namespace: str, elector: Elector) -> Controller:
    cluster = Cluster(KubernetesApi.load(API_SECONDS), namespace)
    client = redis.Redis.from_url(
        load(BrokerSettings).redis_url,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    reconciler = Reconciler(cluster, client, shared_telemetry())
    return Controller(cluster, BacklogReader(client), reconciler, elector)


if __name__ == "__main__":
    main()
