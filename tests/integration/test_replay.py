"""``socialsync replay`` against a fresh gateway: each body's leading item gets an action that is right for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deliveries import change, text, whatsapp

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PAYLOADS = Path(__file__).parents[3] / "shared" / "payloads"


def replay(*arguments: str) -> tuple[int, list[dict]]:
    command = [sys.executable, "-m", "socialsync_cli.main", "replay", "--embedded", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_own_bodies(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(whatsapp(change("100", messages=[text("m1")]))))
    (tmp_path / "odd.json").write_text(json.dumps(whatsapp(change("100", "history", messages=[text("m1")]))))
    code, lines = replay(str(tmp_path))
    assert code == 0
    assert [(line["file"], line["status"], line["items"][0]["action"]) for line in lines] == [
        ("good.json", 200, "reply"),
        ("odd.json", 200, "ignore"),
    ]


@pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded bodies beside the repository")
def test_recorded_bodies() -> None:
    index = {row["file"]: row for row in json.loads((PAYLOADS / "index.json").read_text())}
    code, lines = replay(str(PAYLOADS))
    assert code == 0
    assert len(lines) == sum("action" in row for row in index.values())
    wrong = [
        (line["file"], line["items"][0]["action"], index[line["file"]]["action"])
        for line in lines
        if line["status"] != 200 or line["items"][0]["action"] not in index[line["file"]]["action"]
    ]
    assert wrong == []
