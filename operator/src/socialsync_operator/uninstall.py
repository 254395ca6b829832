"""``python -m socialsync_operator.uninstall SELECTOR``: delete the queues that it selects, and wait until they are gone.

Run before the operator itself is removed, which is who drains them. What is not drained in time is let go: its
Deployment then ends with its owner, after the pods' grace period.
"""

from __future__ import annotations

import argparse
import sys
import time

from socialsync_common.errors import ConfigError
from socialsync_common.kubernetes_api import (
    MERGE_PATCH,
    ApiError,
    ApiUnavailable,
    Json,
    KubernetesApi,
    default_namespace,
)
from socialsync_common.settings import ElectionSettings, exit_on_config_error, load
from socialsync_operator.cluster import FINALIZER

_REQUEST_SECONDS = 10.0
_LOOK_SECONDS = 1.0


def uninstall(api: KubernetesApi, namespace: str, selector: str, seconds: float) -> list[str]:
    """Returns the names of those that had to be let go without being drained."""
    path = f"/apis/socialsync.ai/v1alpha1/namespaces/{namespace}/socialsyncqueues"
    for queue in _selected(api, path, selector):
        api.request("DELETE", f"{path}/{queue['metadata']['name']}")
    deadline = time.monotonic() + seconds
    while (left := _selected(api, path, selector)) and time.monotonic() < deadline:
        names = ", ".join(queue["metadata"]["name"] for queue in left)
        sys.stdout.write(f"waiting for {names} to drain\n")
        sys.stdout.flush()
        time.sleep(_LOOK_SECONDS)
    for queue in left:
        metadata = queue["metadata"]
        rest = [each for each in metadata.get("finalizers", ()) if each != FINALIZER]
        patch = {"metadata": {"finalizers": rest, "resourceVersion": metadata["resourceVersion"]}}
        api.request("PATCH", f"{path}/{metadata['name']}", patch, content_type=MERGE_PATCH)
    return [queue["metadata"]["name"] for queue in left]


def _selected(api: KubernetesApi, path: str, selector: str) -> list[Json]:
    try:
        return list(api.get(path, labelSelector=selector)["items"])
    except ApiError as error:
        if error.not_found:  # the CRD is gone, and every queue with it
            return []
        raise


def main() -> None:
    parser = argparse.ArgumentParser(prog="socialsync_operator.uninstall", description=__doc__)
    parser.add_argument("selector", help="labels of the queues, as in app.kubernetes.io/instance=socialsync")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long to wait for them to drain")
    options = parser.parse_args()
    try:
        namespace = load(ElectionSettings).pod_namespace or default_namespace()
        left = uninstall(KubernetesApi.load(_REQUEST_SECONDS), namespace, options.selector, options.seconds)
    except ConfigError as error:
        exit_on_config_error(error)
    except (ApiError, ApiUnavailable) as error:
        sys.stderr.write(f"socialsync: uninstall: {error}\n")
        raise SystemExit(1) from None
    sys.stdout.write(
        f"let go without being drained: {', '.join(left)}\n" if left else "all queues are drained\n"
    )


if __name__ == "__main__":
    main()
