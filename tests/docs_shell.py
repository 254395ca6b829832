"""A reader of the docs: a shell in which their blocks are typed one after the other, and eyes for their tables."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from stack import Stack

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_DONE = "--- done"


class Shell:
    """At the root of the repository, as far as the docs can tell."""

    def __init__(self, process: subprocess.Popen[str], stack: Stack) -> None:
        self._process = process
        self._stack = stack

    def run(self, block: str) -> str:
        """Type a block; what it prints. It must succeed to its last command."""
        assert self._process.stdin
        assert self._process.stdout
        typed = block.replace("http://127.0.0.1:8000", self._stack.gateway_url)
        typed = typed.replace("http://127.0.0.1:8100", self._stack.sandbox_url)
        self._process.stdin.write(f"{typed}\necho; echo '{_DONE}'\n")
        self._process.stdin.flush()
        printed: list[str] = []
        for line in self._process.stdout:
            if line.rstrip("\n") == _DONE:
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"it failed:\n{block}\n{''.join(printed)}\n{self._stack.logs()}")


@contextmanager
def shell(stack: Stack, folder: Path) -> Iterator[Shell]:
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "socialsync").symlink_to(ROOT / ".venv" / "bin" / "socialsync")
    (folder / "services").symlink_to(ROOT / "services")
    process = subprocess.Popen(
        ["bash", "-eu", "-o", "pipefail"],
        cwd=folder,
        env={**os.environ, **stack.environment, "NO_PROXY": "*"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Shell(process, stack)
        finally:
            process.kill()


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)


def answers_of(stack: Stack, block: str) -> list[list[dict[str, Any]]]:
    """What each statement of a block of SQL finds; the owner of the tests' server bypasses row-level security."""
    try:
        return [stack.query(statement) for statement in block.split(";") if statement.strip()]
    except psycopg.Error as error:
        raise AssertionError(f"{block}\n{error}") from error


def rows(path: Path, first: str) -> list[list[str]]:
    """The rows of a table from the one that begins so."""
    _, begin, rest = path.read_text("utf-8").partition(f"| {first} |")
    assert begin, first
    table = f"{begin}{rest}".split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def named(cell: str) -> set[str]:
    """The codes in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))
