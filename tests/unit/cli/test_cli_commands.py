"""The commands' faults: one line, the right exit code; and what they print."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from socialsync_cli import main as command
from socialsync_cli.demo import Played, check, conversation
from socialsync_cli.queues import Queues
from socialsync_cli.replay import Result, _describe, _items, sign
from socialsync_cli.sandbox import Sent
from socialsync_cli.system import Ports, choose_ports
from socialsync_common.contracts import Lane
from socialsync_common.errors import ConfigError, SocialSyncError

SAID = [(100.0, "Hi!"), (100.5, "Open [today]?")]
REPLY = Sent(7, 102.6, "From 8 to 18.")


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """The exit code, and stderr."""
    monkeypatch.setattr("sys.argv", ["socialsync", *arguments])
    with pytest.raises(SystemExit) as stop:
        command.main()
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["queues"], "CELERY_BROKER_URL: is not set"),
        (["accounts", "list", "--tenant", "x"], "DATABASE_URL: is not set"),
        (["migrate"], "MIGRATION_DATABASE_URL: is not set (the URL of the database's owner)"),
        (["migrate", "--phase", "later"], "--phase: later is none of pre, post, all"),
        (["chat"], "start it in another terminal"),
        (["replay", "x.json"], "no `socialsync run` is up on"),
        (["replay", "x.json", "--embedded", "--url", "http://x"], "--embedded and --url exclude each other"),
        (["replay", "x.json", "--url", "http://127.0.0.1:1"], "META_APP_SECRET: is not set"),
        (["run", "--once", "--no-demo"], "--once plays the demo: leave --no-demo out"),
    ],
)
def test_a_configuration_fault_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    fault: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert said.startswith("socialsync: configuration: ")
    assert fault in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_real_graph_api_and_once_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("META_GRAPH_URL", "https://graph.example.com")
    code, said = run(monkeypatch, capsys, "run", "--once", "--data", str(tmp_path))
    assert (code, "unset META_GRAPH_URL" in said) == (2, True)


@pytest.mark.enable_socket
def test_a_taken_port_is_named_with_its_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} \(the gateway's\) is in use: .* --port"):
            choose_ports(port, sandbox=True, may_move=False)
        with pytest.raises(ConfigError, match=rf"port {port} \(the sandbox's, --port \+ 100\) is in use"):
            choose_ports(port - 100, sandbox=True, may_move=False)
        assert choose_ports(port - 100, sandbox=False, may_move=False) == Ports(port - 100, port)
        assert choose_ports(port, sandbox=True, may_move=True).gateway != port


def test_exactly_one_reply_passes() -> None:
    check(Played(SAID, 100.6, [REPLY]))
    with pytest.raises(SocialSyncError, match="no reply came within 40 s"):
        check(Played(SAID, 100.6, []))
    with pytest.raises(SocialSyncError, match="2 replies came for one burst"):
        check(Played(SAID, 100.6, [REPLY, REPLY]))


def test_the_conversation_is_shown_with_its_times() -> None:
    console = Console(width=100, record=True, file=Path("/dev/null").open("w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(conversation(Played(SAID, 100.6, [REPLY])))
    shown = console.export_text()
    assert "0.50 s         Ada  Open [today]?" in shown
    assert "2.60 s  SocialSync  From 8 to 18." in shown
    assert "2 messages, one reply, 2.10 s after the last one" in shown


def test_bodies_are_signed_as_meta_does() -> None:
    # HMAC-SHA256, RFC 4231 test case 2
    assert sign(b"Jefe", b"what do ya want for nothing?") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_items_have_exactly_their_five_members() -> None:
    item = {"id": "m", "kind": "text", "action": "reply", "stored": True, "reason": None}
    assert _items(httpx.Response(200, content=json.dumps({"items": [{**item, "more": 1}]}))) == [item]
    assert _items(httpx.Response(200)) == []
    assert _items(httpx.Response(503, json={"title": "away"})) == []


def test_a_line_for_each_file() -> None:
    item = {"id": "m", "kind": "status", "action": "status", "stored": False, "reason": "not ours"}
    assert _describe(Result("a.json", 200, [item])).plain == "200  a.json  status status (not ours)"
    assert _describe(Result("b.json", 401)).plain == "401  b.json  no items"


def test_queues_show_each_deployment_once() -> None:
    assert {lane.queue for lane in Lane} == {"ingest", "documents", "scheduler", "comments"}
    found = Queues({"ingest.tick": 0, "ingest": 7}, {"ingest": 3}, {"open": 2, "due": 1, "leased": 1})
    console = Console(width=60, record=True, file=Path("/dev/null").open("w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(found.table())
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["ingest", "7", "3"] in rows
    assert ["conversations", "due", "1"] in rows
