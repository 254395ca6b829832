"""The command as people use it: bring everything up, write to it, replay webhooks, stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from socialsync_cli.folder import DataFolder
from socialsync_cli.processes import free_port
from socialsync_cli.waiting import wait_until

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "socialsync_cli.main"]


def socialsync(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=said, capture_output=True, text=True, timeout=90, check=False
    )


@contextmanager
def running(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (data.parent / "run.out").open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "run", "--no-demo", "--data", str(data), "--port", str(free_port())],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or DataFolder(data).running(), 60, "the system to come up"
        )
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def left_behind(data: Path) -> list[str]:
    """Command lines that still name the data folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if process.name.isdigit() and str(data) in line:
            found.append(line)
    return found


def test_once_plays_the_demo_and_leaves_nothing_running(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for _ in range(2):  # the second time with all that the first one stored
        done = socialsync("run", "--once", "--data", str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 messages, one reply" in done.stdout
        assert "published once" in done.stdout
        assert "3 comments, one answered" in done.stdout
        assert left_behind(data) == []
    listed = socialsync("queues", "--data", str(data))
    assert listed.returncode == 2  # nothing runs, so nobody says where Redis is


def test_the_others_find_a_running_system_and_sigterm_ends_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    at = ["--data", str(data)]
    with running(data) as process:
        connected = socialsync(
            *(
                "accounts",
                "connect",
                "--tenant",
                "Shop",
                "--platform",
                "whatsapp",
                "--id",
                "555",
                "--name",
                "Shop",
            ),
            *("--token", "t", *at),
        )
        assert connected.returncode == 0, connected.stderr
        rows = json.loads(socialsync("accounts", "list", "--tenant", "Shop", "--json", *at).stdout)
        assert [(row["platform"], row["external_id"], row["status"]) for row in rows] == [
            ("whatsapp", "555", "active")
        ]
        assert socialsync("accounts", "key", "--tenant", "Shop", "--name", "x", *at).stdout.startswith("ssk_")
        talk = socialsync("chat", "--account", "555", "--contact", "491700001", *at, said="Hello!\n\n")
        assert talk.returncode == 0, talk.stderr
        assert talk.stdout.count("SocialSync") == 1
        queues = json.loads(socialsync("queues", "--json", *at).stdout)
        assert queues["conversations"]["due"] == 0
        body = {"object": "whatsapp_business_account", "entry": [{"changes": [{"value": message("m1")}]}]}
        (tmp_path / "body.json").write_text(json.dumps(body), "utf-8")
        first, again = (socialsync("replay", "--json", str(tmp_path / "body.json"), *at) for _ in range(2))
        assert json.loads(first.stdout)["items"][0]["stored"]
        assert not json.loads(again.stdout)["items"][0]["stored"]  # Meta may deliver twice
        process.terminate()
        assert process.wait(60) == 0
    said = (tmp_path / "run.out").read_text("utf-8")
    assert "starting sandbox, gateway, ingest, scheduler, comments, beat" in said
    assert "a customer writes" not in said  # nor what follows: the demo was not wanted
    assert left_behind(data) == []


def test_replay_embedded_starts_anew_for_each_file(tmp_path: Path) -> None:
    folder = tmp_path / "bodies"
    folder.mkdir()
    body = {"object": "whatsapp_business_account", "entry": [{"changes": [{"value": message("m1")}]}]}
    for name in ("a.json", "b.json"):
        (folder / name).write_text(json.dumps(body), "utf-8")
    (folder / "answer.json").write_text('{"http_status": 400, "body": {}}', "utf-8")
    (folder / "index.json").write_text("[]", "utf-8")
    done = socialsync("replay", "--embedded", "--json", str(folder))
    assert done.returncode == 0, done.stderr
    item = {"id": "m1", "kind": "text", "action": "reply", "stored": True, "reason": None}
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"file": name, "status": 200, "items": [item]} for name in ("a.json", "b.json")
    ]
    assert "skipped answer.json: a Graph answer" in done.stderr
    assert "skipped index.json: an index" in done.stderr


def message(message_id: str) -> dict[str, object]:
    return {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550001111", "phone_number_id": "777"},
        "contacts": [{"profile": {"name": "Ada"}, "wa_id": "491700002"}],
        "messages": [
            {
                "from": "491700002",
                "id": message_id,
                "timestamp": "1790000000",
                "type": "text",
                "text": {"body": "Hi"},
            }
        ],
    }
