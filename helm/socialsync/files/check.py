"""The gateway can serve, and the workers of each queue are there: GATEWAY_URL RELEASE SECONDS."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request

from socialsync_common.kubernetes_api import ApiError, ApiUnavailable, KubernetesApi

gateway, release, seconds = sys.argv[1:]
path = f"/apis/socialsync.ai/v1alpha1/namespaces/{os.environ['POD_NAMESPACE']}/socialsyncqueues"


def faults() -> list[str]:
    found = []
    try:
        urllib.request.urlopen(f"{gateway}/readyz", timeout=5).close()  # noqa: S310 - the chart's own URL
    except urllib.error.HTTPError as error:
        found.append(f"gateway: {error.code} {error.read().decode('utf-8', 'replace')}")
    except OSError as error:
        found.append(f"gateway: {error}")
    try:
        queues = KubernetesApi.load(10).get(path, labelSelector=f"app.kubernetes.io/instance={release}")[
            "items"
        ]
    except (ApiError, ApiUnavailable) as error:
        return [*found, f"queues: {error}"]
    for queue in queues:
        conditions = queue.get("status", {}).get("conditions", ())
        ready = next((each for each in conditions if each["type"] == "Ready"), None)
        if ready is None or ready["status"] != "True":
            found.append(
                f"{queue['metadata']['name']}: {ready['message'] if ready else 'nobody looks after it'}"
            )
    return found


deadline = time.monotonic() + float(seconds)
while (found := faults()) and time.monotonic() < deadline:
    time.sleep(2)
if found:
    sys.exit("\n".join(found))
sys.stdout.write("the gateway and all queues are ready\n")
