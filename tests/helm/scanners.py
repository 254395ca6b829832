"""kube-score and checkov, each installed once into the user's cache: ``python tests/helm/scanners.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

KUBE_SCORE = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"
CHECKOV = "checkov==3.3.30"
SCANNERS = ("kube-score", "checkov")


def folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "socialsync" / "scanners"


def missing() -> list[str]:
    return [name for name in SCANNERS if not (folder() / name).exists()]


def install() -> None:
    """Install what is missing. Needs Go and uv."""
    folder().mkdir(parents=True, exist_ok=True)
    if "kube-score" in missing():
        _run("go", "install", KUBE_SCORE, GOBIN=str(folder()), CGO_ENABLED="0", GOFLAGS="")
    if "checkov" in missing():
        own = {"UV_TOOL_DIR": str(folder() / "tools"), "UV_TOOL_BIN_DIR": str(folder())}
        _run("uv", "tool", "install", "--quiet", "--python", "3.11", CHECKOV, **own)


def _run(tool: str, *arguments: str, **environment: str) -> None:
    bundled = Path(__file__).parents[2] / ".uv" / "bin" / tool
    executable = shutil.which(tool) or (str(bundled) if bundled.exists() else None)
    if executable is None:
        sys.exit(f"scanners: {tool} is not on PATH")
    subprocess.run([executable, *arguments], env={**os.environ, **environment}, check=True)


if __name__ == "__main__":
    install()
