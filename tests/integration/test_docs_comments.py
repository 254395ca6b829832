"""What the docs of comments tell to type works, on real services; their tables and figures are the code's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from docs_shell import DOCS, ROOT, answers_of, blocks, named, rows, shell
from socialsync_cli.demo import ACCOUNTS, INSTRUCTIONS, TENANT
from socialsync_comments.answering import decide as answering
from socialsync_comments.answering import writing
from socialsync_comments.answering.schemas import LEASE_SECONDS, ORDER
from socialsync_comments.watching import decide as watching
from socialsync_common.ai import comment_prompt
from socialsync_common.comment_policy import (
    LISTS,
    MAX_PHRASE_CHARACTERS,
    MAX_PHRASES,
    SWITCHES,
    WORDS,
    CommentPolicy,
    faults_of_rules,
)
from socialsync_common.contracts import CommentReason, CommentStatus, Platform
from socialsync_common.platforms.allowance import BRAKE_PERCENT
from socialsync_common.platforms.comments import MAX_PICTURES
from stack import Stack, running_stack

pytestmark = pytest.mark.integration

HOWTO = DOCS / "howto" / "answer-comments.md"
REFERENCE = DOCS / "reference" / "comments.md"
RUNBOOK = DOCS / "runbooks" / "comments-not-answered.md"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("docs")) as stack:
        stack.start_sandbox()
        stack.start_gateway()
        stack.start_comments()
        stack.start_beat()
        stack.connect(ACCOUNTS[Platform.INSTAGRAM], TENANT, Platform.INSTAGRAM)
        stack.query("UPDATE accounts SET instructions = %s", INSTRUCTIONS)
        yield stack


# --- what is typed ---


def test_comments_are_answered_as_told(stack: Stack, tmp_path: Path) -> None:
    with shell(stack, tmp_path) as reader:
        printed = [reader.run(block) for block in blocks(HOWTO, "sh")]
    outcomes = [line for line in printed[-1].splitlines() if re.fullmatch(r"\w+ \w+ \w+", line)]
    assert outcomes == ["ines left unwanted", "omar answered question", "paul person complaint"]
    left = next(text for text in printed if "@marc" in text)
    assert "speaks to @marc" in left

    comments = {row["author_name"]: row for row in stack.query("SELECT * FROM comments")}
    report = stack.sandbox("GET", "/sandbox/comments/report")
    public = {name: report["replies"].get(row["external_id"], []) for name, row in comments.items()}
    assert {name: len(texts) for name, texts in public.items() if texts} == dict.fromkeys(
        ("ada", "marc", "zoe", "omar"), 1
    )
    assert public["marc"] == ["We do, Tuesday to Sunday!"]
    assert "8:00 to 12:00" in public["ada"][0]
    assert list(report["private"]) == [comments["zoe"]["external_id"]]
    assert report["doubled"] == 0
    assert (comments["noor"]["status"], comments["noor"]["reason"]) == ("left", "dismissed")


def test_what_the_runbook_asks_the_database_is_answered(stack: Stack) -> None:
    for block in blocks(RUNBOOK, "sql"):
        assert len(answers_of(stack, block)) == block.count(";")


def test_what_the_runbook_looks_for_in_the_log_is_logged() -> None:
    said = (
        "no answer from the model", "comment not processed", "comment waits", "comment put off", "calls used up",
        "account needs reconnecting", "comments not read", "answer refused", "failure not noted",
    )  # fmt: skip
    told = RUNBOOK.read_text("utf-8")
    source = "".join(path.read_text("utf-8") for path in (ROOT / "services").glob("*/src/**/*.py"))
    for words in said:
        assert f"`{words}`" in told
        assert f'"{words}"' in source


# --- tables ---


def test_every_status_and_reason_is_explained() -> None:
    explained = [code for cells in rows(REFERENCE, "reason")[2:] for code in sorted(named(cells[0]))]
    assert set(explained) == set(CommentReason)
    diagram = REFERENCE.read_text("utf-8").split("```")[1]
    assert set(re.findall(r"\b[a-z]+\b(?=:|\n)", re.sub(r":[^\n]*", ":", diagram))) >= set(CommentStatus)


def test_the_policy_is_the_code_s(stack: Stack) -> None:
    table = {min(named(cells[0])): cells for cells in rows(REFERENCE, "field")[2:]}
    default = CommentPolicy()
    api = httpx.get(f"{stack.gateway_url}/openapi.json").json()
    schema = api["components"]["schemas"]["NewPolicy"]["properties"]
    assert list(table) == list(schema)
    for name, (_, shown, takes, _) in table.items():
        assert shown.strip("`") == str(getattr(default, name)).lower(), name
        assert _taken(takes) == _bounds(schema[name]), name


def _taken(cell: str) -> Any:
    found = re.fullmatch(r"(\d+) to (\d+)", cell)
    return (int(found[1]), int(found[2])) if found else named(cell)


def _bounds(field: dict[str, Any]) -> Any:
    return (field["minimum"], field["maximum"]) if "minimum" in field else set(field.get("enum", ()))


def test_the_rules_are_the_code_s() -> None:
    keys, meanings = zip(*rows(REFERENCE, "key")[2:], strict=True)
    assert set().union(*map(named, keys)) == {"off", *WORDS, *LISTS}
    assert named(meanings[0]) == set(SWITCHES)
    (example,) = blocks(REFERENCE, "json")
    assert list(faults_of_rules(json.loads(example))) == []


def test_the_figures_are_the_code_s() -> None:
    text = " ".join(REFERENCE.read_text("utf-8").split())
    day, quiet = timedelta(days=1), timedelta(days=12)
    assert watching.pause(day, 0, chosen=False) == timedelta(hours=1)
    assert watching.pause(quiet, 0, chosen=False) == watching.SLOWEST == timedelta(hours=12)
    for figure in (
        f"At most {MAX_PHRASES} phrases in all, of {MAX_PHRASE_CHARACTERS} characters each",
        ", ".join(f"`{kind}`" for kind in ORDER),
        ", ".join(f"{answering.backoff(failures):.0f} s" for failures in range(3)),
        f"{answering.ATTEMPTS} attempts in all",
        f"every {answering.LOOK_AGAIN_SECONDS:.0f} s, among",
        f"in a complete list {_seconds(answering.SETTLED)} s after the call",
        f"again after {_seconds(answering.SETTLED)} s: the platform",
        f"{_seconds(answering.RECONCILE_AT_MOST) // 60} min: `person`",
        f"to a person after {answering.FAILURES_UNTIL_PERSON} attempts",
        f"a lease of {LEASE_SECONDS} s",
        f"and {writing.PUBLIC_CHARACTERS:,} leave at most",
        f"within {answering.PRIVATE_DAYS.days} days",
        f"up to {_seconds(watching.LIVELY) // 3600} hours ago | every {_seconds(watching.FASTEST) // 60} min",
        f"{watching.FORGOTTEN.days} days ago",
        f"more than {watching.EASY_PERCENT:.0f} %",
        f"more than {watching.BUSY_PERCENT:.0f} %",
        f"more than {watching.FULL_PERCENT:.0f} %",
        f"| {BRAKE_PERCENT:.0f} %",
        f"A page is {watching.PAGE_COMMENTS} comments; {watching.PAGES_AT_MOST} pages",
        f"at most {watching.PAGES_AT_MOST * watching.PAGE_COMMENTS:,} comments",
        f"after {_seconds(watching.RETRY_PAUSE)} s, three times",
        f"no comment for {watching.PICTURES_KEPT.days} days",
        f"| {comment_prompt.CAPTION_CHARACTERS:,} characters |",
        f"the latest {comment_prompt.THREAD_TURNS}, {comment_prompt.THREAD_CHARACTERS:,} characters",
        f"the comment | {comment_prompt.COMMENT_CHARACTERS:,} characters",
        f"| {MAX_PICTURES}, of 5 MB each",
    ):
        assert figure in text, figure


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
