"""The folder ``operator`` must never stand before the standard library's module of that name."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMPORT_ANEW = "import sys; sys.modules.pop('operator', None); import operator; print(operator.__file__)"


def test_at_the_root_of_the_repository_operator_is_the_standard_librarys() -> None:
    """``-c`` puts the working directory first in the path, as ``-m`` and a REPL do."""
    found = subprocess.run(
        [sys.executable, "-c", IMPORT_ANEW], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert Path(found.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_the_folder_is_no_package_and_holds_no_tests() -> None:
    folder = ROOT / "operator"
    assert folder.is_dir()
    assert not list(folder.glob("*.py"))
    assert not [*folder.rglob("test_*.py"), *folder.rglob("*_test.py"), *folder.rglob("conftest.py")]
