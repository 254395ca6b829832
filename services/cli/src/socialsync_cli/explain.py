"""``socialsync queues explain NAME``: why a queue has the replicas that it has, from its status in the cluster."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from socialsync_common.errors import ConfigError
from socialsync_common.kubernetes_api import ApiError, ApiUnavailable, KubernetesApi, default_namespace

_SECONDS = 10.0

Json = dict[str, Any]


def read_queue(name: str, namespace: str | None) -> Json:
    """The SocialSyncQueue, by the kubeconfig or the pod's service account.

    Raises:
        ConfigError: no cluster, no such queue, or no permission; says which.
    """
    where = namespace or default_namespace()
    api = KubernetesApi.load(_SECONDS)
    try:
        return api.get(f"/apis/socialsync.ai/v1alpha1/namespaces/{where}/socialsyncqueues/{name}")
    except ApiError as error:
        if error.not_found:
            raise ConfigError(
                f"there is no SocialSyncQueue {name} in namespace {where}: `kubectl get ssq -A` lists them"
            ) from None
        raise ConfigError(f"namespace {where}: {error}") from None
    except ApiUnavailable as error:
        raise ConfigError(f"KUBECONFIG: the cluster does not answer: {error}") from None


def explanation(queue: Json) -> Group:
    """The sentence, each number on the way, and every condition that is not as one would wish."""
    status: Json = queue.get("status", {})
    decision: Json = status.get("decision", {})
    if not decision:
        return Group(
            Text("not decided yet: does the operator run? `kubectl get pods` shows it", style="yellow")
        )
    headline = f"{queue['metadata']['name']}: {status.get('replicas', 0)} replicas, {status['desiredReplicas']} desired"
    parts: list[Text | Table] = [Text(headline, style="bold"), Text(decision["message"])]
    if decision.get("dryRun"):
        parts.append(Text("dry run: it is not carried out", style="yellow"))
    parts += [_numbers(status), _candidates(decision)]
    for condition in status.get("conditions", ()):
        if _is_bad(condition):
            text = f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}"
            parts.append(Text(text, style="red"))
    return Group(*parts)


def _numbers(status: Json) -> Table:
    shown = {
        "waiting": status.get("depth"),
        "due conversations": status.get("dueConversations"),
        "in flight": status.get("inFlight"),
        "oldest waits since": status.get("oldestWaitingSince"),
        "arrivals a minute": status.get("arrivalsPerMinute"),
        "service time, ms": status.get("serviceTimeMilliseconds"),
        "slots a replica": status.get("slotsPerReplica"),
        "ready replicas": status.get("readyReplicas"),
        "idle replicas": status.get("idleReplicas"),
    }
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for name, value in shown.items():
        table.add_row(name, "not known" if value is None else str(value))
    return table


def _candidates(decision: Json) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("STEP")
    table.add_column("REPLICAS", justify="right")
    for candidate in decision.get("candidates", ()):
        table.add_row(candidate["name"], str(candidate["replicas"]))
    limits = ", ".join(decision.get("limits", ())) or "none"
    table.caption = f"rests on {decision['reason']}; limits: {limits}"
    table.caption_justify = "left"
    return table


def _is_bad(condition: Json) -> bool:
    wished = {"Ready": "True", "MetricsAvailable": "True", "Degraded": "False", "Paused": "False"}
    return bool(wished.get(condition["type"], condition["status"]) != condition["status"])
