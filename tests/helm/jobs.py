"""Plays the kubelet for Jobs and for helm's test pod: runs their commands as processes, as their service account."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from control_plane import ControlPlane
from socialsync_common.kubernetes_api import MERGE_PATCH, ApiError, ApiUnavailable

Json = dict[str, Any]
BIN = Path(sys.executable).parent
_PASS_SECONDS = 0.1


def environment(plane: ControlPlane, namespace: str, container: Json) -> dict[str, str]:
    """What the container's process would find, of the downward API only its name and namespace."""
    core = f"/api/v1/namespaces/{namespace}"
    given = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    for source in container.get("envFrom", ()):
        given |= plane.api.get(f"{core}/configmaps/{source['configMapRef']['name']}").get("data", {})
    for each in container.get("env", ()):
        value = each.get("value")
        if source := each.get("valueFrom", {}).get("secretKeyRef"):
            data = plane.api.get(f"{core}/secrets/{source['name']}")["data"]
            if source["key"] not in data:
                assert source.get("optional"), f"{source} is not there"
                continue
            value = base64.b64decode(data[source["key"]]).decode()
        given[each["name"]] = value or {"POD_NAMESPACE": namespace}.get(each["name"], "a-pod")
    return given


class Jobs:
    """Of one namespace, in a thread of its own. ``replaced``: parts of arguments, such as the names of Services."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self._plane = plane
        self._namespace = namespace
        self._folder = folder
        self._done: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._process: subprocess.Popen[str] | None = None
        self.replaced: dict[str, str] = {}
        self.logs: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._process:
            self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        jobs = f"/apis/batch/v1/namespaces/{self._namespace}/jobs"
        pods = f"/api/v1/namespaces/{self._namespace}/pods"
        while not self._stopping.wait(_PASS_SECONDS):
            with contextlib.suppress(ApiUnavailable, ApiError):
                for job in self._new(jobs):
                    ended = job["metadata"]["creationTimestamp"]
                    success = self._carry_out(job["metadata"]["name"], job["spec"]["template"]["spec"])
                    self._report(jobs, job, _job_status(success, ended))
                for pod in self._new(pods, labelSelector="app.kubernetes.io/component=test"):
                    success = self._carry_out(pod["metadata"]["name"], pod["spec"])
                    self._report(pods, pod, {"phase": "Succeeded" if success else "Failed"})

    def _new(self, path: str, **query: str) -> list[Json]:
        found = [
            each
            for each in self._plane.api.get(path, **query)["items"]
            if each["metadata"]["uid"] not in self._done
        ]
        self._done |= {each["metadata"]["uid"] for each in found}
        return found

    def _report(self, path: str, manifest: Json, status: Json) -> None:
        name = manifest["metadata"]["name"]
        self._plane.api.request(
            "PATCH", f"{path}/{name}/status", {"status": status}, content_type=MERGE_PATCH
        )

    def _carry_out(self, name: str, spec: Json) -> bool:
        self.logs[name] = ""
        folders = self._mounted(spec)
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            own = environment(self._plane, self._namespace, container)
            if spec["automountServiceAccountToken"]:
                account = spec["serviceAccountName"]
                own["KUBECONFIG"] = str(self._plane.service_account_kubeconfig(self._namespace, account))
            argv = [
                self._replace(each, folders) for each in (*container["command"], *container.get("args", ()))
            ]
            self._process = subprocess.Popen(
                argv, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self.logs[name] += self._process.communicate()[0]
            if self._process.returncode != 0:
                return False
        return True

    def _mounted(self, spec: Json) -> Mapping[str, str]:
        """Folders with what ConfigMaps hold, by where they are mounted."""
        folders = {}
        for volume in spec["volumes"]:
            if source := volume.get("configMap"):
                folder = self._folder / source["name"]
                folder.mkdir(exist_ok=True)
                path = f"/api/v1/namespaces/{self._namespace}/configmaps/{source['name']}"
                for key, text in self._plane.api.get(path)["data"].items():
                    (folder / key).write_text(text)
                mounts = (each for container in spec["containers"] for each in container["volumeMounts"])
                folders |= {
                    each["mountPath"]: str(folder) for each in mounts if each["name"] == volume["name"]
                }
        return folders

    def _replace(self, argument: str, folders: Mapping[str, str]) -> str:
        for part, replacement in {**folders, **self.replaced}.items():
            if argument.startswith(part):
                return replacement + argument.removeprefix(part)
        return argument


def _job_status(success: bool, at: str) -> Json:
    kinds = ("SuccessCriteriaMet", "Complete") if success else ("FailureTarget", "Failed")
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "Played",
            "message": "",
            "lastTransitionTime": at,
            "lastProbeTime": at,
        }
        for kind in kinds
    ]
    ended = {"completionTime": at, "succeeded": 1} if success else {"failed": 1}
    return {"startTime": at, "conditions": conditions, **ended}
