"""Brings the CRD up to date: FILE."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from socialsync_common.kubernetes_api import APPLY_PATCH, KubernetesApi

crd = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8"))
name = crd["metadata"]["name"]
applied = KubernetesApi.load(10).request(
    "PATCH",
    f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
    crd,
    query={"fieldManager": "helm", "force": "true"},
    content_type=APPLY_PATCH,
)
sys.stdout.write(f"{name} is at generation {applied['metadata']['generation']}\n")
