"""Requests to the Kubernetes API as plain JSON: the official client's login and TLS, none of its models.

Needs the extra ``socialsync-common[kubernetes]``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from socialsync_common.errors import ConfigError, SocialSyncError, TransientError

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

SERVICE_HOST = "KUBERNETES_SERVICE_HOST"  # set in every pod
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Json = dict[str, Any]


class ApiError(SocialSyncError):
    """The API server refused a request. ``reason`` is its own word for it, e.g. ``Conflict``."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Someone changed the object since it was read, or made it first."""
        return self.status == 409


class ApiUnavailable(TransientError):
    """The API server did not answer; what was asked may have happened."""


class KubernetesApi:
    """Thread-safe. ``timeout`` is in seconds, for a whole request."""

    def __init__(self, configuration: client.Configuration, timeout: float) -> None:
        configuration.retries = False  # who calls decides what may be asked twice
        self._client = client.ApiClient(configuration)
        self._timeout = timeout

    @classmethod
    def load(cls, timeout: float, *, config_file: str | None = None) -> KubernetesApi:
        """As the pod's service account, or outside a cluster by ``config_file`` or the user's kubeconfig.

        Raises:
            ConfigError: neither is there.
        """
        configuration = client.Configuration()
        try:
            if config_file is None and SERVICE_HOST in os.environ:
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(config_file, client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ConfigError(f"KUBECONFIG: no cluster to talk to: {error}") from None
        return cls(configuration, timeout)

    def get(self, path: str, **query: str) -> Json:
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One request, one answer.

        Raises:
            ApiError: refused.
            ApiUnavailable: not answered, or the server is in trouble (5xx, 429).
        """
        prepared = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*prepared, _request_timeout=self._timeout)
            content = response.read()
        except (HTTPError, ApiException, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {type(error).__name__}: {error}") from None
        if response.status == 429 or response.status >= 500:
            raise ApiUnavailable(f"{method} {path}: {response.status} {content[:200]!r}")
        if response.status >= 400:
            raise _refused(response.status, content)
        answer: Json = json.loads(content)
        return answer


def current_namespace() -> str | None:
    """The namespace that this pod runs in; None outside a cluster."""
    try:
        return _NAMESPACE_FILE.read_text("utf-8").strip()
    except OSError:
        return None


def own_namespace(given: str | None) -> str:
    """``given``, the value of POD_NAMESPACE, or the one that this pod runs in.

    Raises:
        ConfigError: neither is known.
    """
    namespace = given or current_namespace()
    if namespace is None:
        raise ConfigError("POD_NAMESPACE: is not set, and no service account is mounted that would tell it")
    return namespace


def default_namespace() -> str:
    """The pod's own, or the one of the kubeconfig's current context."""
    own = current_namespace()
    if own is not None:
        return own
    try:
        _, context = config.list_kube_config_contexts()
    except (ConfigException, OSError) as error:
        raise ConfigError(f"KUBECONFIG: no cluster to talk to: {error}") from None
    return str(context["context"].get("namespace") or "default")


def _refused(status: int, content: bytes) -> ApiError:
    try:
        answer = json.loads(content)
        return ApiError(status, str(answer.get("reason")), str(answer.get("message")))
    except (ValueError, AttributeError):
        return ApiError(status, "Unknown", content[:200].decode(errors="replace"))
