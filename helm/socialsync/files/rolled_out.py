"""Waits until no gateway and no worker of a release runs another image than those given: RELEASE IMAGE..."""

from __future__ import annotations

import os
import sys
import time

from socialsync_common.kubernetes_api import ApiUnavailable, KubernetesApi

api = KubernetesApi.load(10)
path = f"/api/v1/namespaces/{os.environ['POD_NAMESPACE']}/pods"
release, *images = sys.argv[1:]
selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component in (gateway,worker)"


def outdated() -> list[str]:
    pods = api.get(path, labelSelector=selector)["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod["spec"]["containers"][0]["image"] not in images
        and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]


said = ""
while True:
    try:
        old = outdated()
    except ApiUnavailable as error:
        fault = str(error)
    else:
        if not old:
            break
        fault = f"waiting for pods of another version to end: {', '.join(old)}"
    if fault != said:
        said = fault
        sys.stdout.write(f"{fault}\n")
        sys.stdout.flush()
    time.sleep(2)
sys.stdout.write("only this version runs\n")
