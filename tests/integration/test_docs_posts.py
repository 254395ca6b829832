"""What the docs of accounts and posts tell to type works, on real services; their tables are the code's.

WRITE_DOCS=1 writes the table of limits anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from docs_shell import DOCS, answers_of, blocks, named, rows, shell
from socialsync_common.contracts import NoticeKind, Platform, PostKind
from socialsync_common.platforms.login import _SCOPES, INSTAGRAM_FIELDS, PAGE_FIELDS, Login
from socialsync_common.settings import PostSettings
from socialsync_gateway.posts.limits import LIMITS, MB, MIB, FileLimits, KindLimits
from socialsync_scheduler.publishing import decide, finish, launches, schemas
from stack import Stack, running_stack

pytestmark = pytest.mark.integration

POSTS, ACCOUNTS = DOCS / "howto" / "schedule-posts.md", DOCS / "howto" / "connect-accounts.md"
REFERENCE = DOCS / "reference" / "posts.md"
RUNBOOKS = [
    DOCS / "runbooks" / f"{name}.md" for name in ("posts-not-published", "account-needs-reconnecting")
]
TENANT = "Demo Bakery"
# those of the demo
INSTAGRAM, PAGE, NUMBER, BUSINESS_ACCOUNT = (
    "17841400000000001",
    "108000000000001",
    "109000000000001",
    "102000000000001",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("docs")) as stack:
        stack.start_sandbox()
        stack.start_gateway()
        stack.start_scheduler()
        stack.start_beat()
        for platform, external_id in ((Platform.INSTAGRAM, INSTAGRAM), (Platform.MESSENGER, PAGE)):
            stack.connect(external_id, TENANT, platform)
        number = {"platform": "whatsapp", "account_id": NUMBER, "business_account_id": BUSINESS_ACCOUNT}
        stack.sandbox("POST", "/sandbox/accounts", json=number)
        yield stack


def test_accounts_are_connected_as_told(stack: Stack, tmp_path: Path) -> None:
    old = {row["external_id"]: row["token"] for row in stack.query("SELECT external_id, token FROM accounts")}
    with shell(stack, tmp_path) as reader:
        for block in blocks(ACCOUNTS, "sh"):
            printed = reader.run(block)
        assert re.fullmatch(r"k2:[A-Za-z0-9+/]{43}=", printed.strip())
    rows = {row["external_id"]: row for row in stack.query("SELECT * FROM accounts")}
    assert rows.keys() == {INSTAGRAM, PAGE, NUMBER}
    for external_id, row in rows.items():
        assert (row["status"], row["subscribed"]) == ("active", True), row
        assert bytes(row["token"]) != bytes(old.get(external_id, b"")), external_id
    assert rows[NUMBER]["business_account_id"] == BUSINESS_ACCOUNT
    (keys,) = answers_of(stack, blocks(ACCOUNTS, "sql")[0])
    assert [(row["key"], row["count"]) for row in keys] == [("k1", 3)]


def test_posts_are_scheduled_as_told(stack: Stack, tmp_path: Path) -> None:
    printed: dict[str, str] = {}
    with shell(stack, tmp_path) as reader:
        for block in blocks(POSTS, "sh"):
            if "needs_check" in block:  # as if Meta had not answered, and nobody could tell
                stack.query(
                    "UPDATE post_targets SET status = 'needs_check', phase = 'publish_called', next_at = NULL "
                    "WHERE id = (SELECT id FROM post_targets WHERE status = 'published' LIMIT 1)"
                )
            printed[block] = reader.run(block)
    calendar = next(text for block, text in printed.items() if "/posts/calendar" in block)
    assert '"zone":"Europe/Paris"' in calendar
    decided = next(text for block, text in printed.items() if "/decision" in block)
    assert '"status":"published"' in decided

    texts = stack.query("SELECT text, status FROM scheduled_posts ORDER BY due_at")
    assert {row["text"]: row["status"] for row in texts} == {
        "Still warm.": "published",
        "Fresh from the oven: our rye bread, now with walnuts.": "cancelled",
    }
    live = [post["text"] for account in (INSTAGRAM, PAGE) for post in stack.posts(account=account)]
    assert live == ["Still warm."] * 2


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_what_runbooks_ask_the_database_is_answered(stack: Stack, path: Path) -> None:
    for block in blocks(path, "sql"):
        assert len(answers_of(stack, block)) == block.count(";")


def test_a_runbook_tells_how_meta_s_way_in_answers(stack: Stack) -> None:
    said = re.search(r"`curl PUBLIC_URL(/\S+)` must answer `([^`]+)`", RUNBOOKS[0].read_text("utf-8"))
    assert said
    assert said[2] in httpx.get(f"{stack.gateway_url}{said[1]}").json()["detail"]


# --- tables


def test_what_meta_has_to_know_is_what_the_code_asks_for() -> None:
    told = {cells[0]: cells[1:] for cells in rows(ACCOUNTS, "product of the app")}
    assert named(told["permissions"][0]) == set(_SCOPES[Login.INSTAGRAM])
    assert named(told["permissions"][1]) == set(_SCOPES[Login.FACEBOOK])
    assert named(told["their fields"][0]) == set(INSTAGRAM_FIELDS)
    assert named(told["their fields"][1]) == set(PAGE_FIELDS)


def test_every_notice_is_explained() -> None:
    explained = {kind for cells in rows(ACCOUNTS, "`needs_reconnect`") for kind in named(cells[0])}
    assert explained == set(NoticeKind)


def test_the_figures_of_the_reference_are_the_code_s() -> None:
    text = REFERENCE.read_text("utf-8")
    create = ", ".join(f"{pause.total_seconds():.0f} s" for pause in decide.CREATE_PAUSES)
    for figure in (
        create,
        f"again after {decide.RETRY_PAUSE.total_seconds():.0f} s, three times",
        f"again after {decide.RECHECK.total_seconds():.0f} s, not counted",
        f"After {('four',)[decide.RETRIES - 3]} attempts in all",
        f"{decide.LEAD.total_seconds():.0f} s before; 600 s with a video",
        f"still ready {decide.SETTLING.total_seconds():.0f} s after",
        f"or {decide.RECONCILE_AT_MOST.total_seconds() / 60:.0f} min without an answer",
        f"not there for {decide.FEED_AT_MOST.total_seconds() / 60:.0f} min",
        f"{launches.BEGIN_SECONDS} s before |",
        f"{launches.CALLS_AT_ONCE} at a time",
        f"a lease of {schemas.LEASE_SECONDS} s",
        f"`POST_GRACE_SECONDS` ({PostSettings().post_grace_seconds:.0f})",
        f"read for up to {finish.PERMALINK_AT_MOST.total_seconds() / 60:.0f} min",
        f"there are {('four',)[finish.COMMENT_ATTEMPTS - 4]}, {finish.COMMENT_PAUSE.total_seconds():.0f} s apart",
    ):
        assert figure in text, figure


def test_the_table_of_limits_is_the_code_s() -> None:
    head, begin, rest = POSTS.read_text("utf-8").partition("<!-- limits -->\n")
    shown, end, tail = rest.partition("<!-- end -->")
    wanted = _limits()
    if os.environ.get("WRITE_DOCS"):
        POSTS.write_text(head + begin + wanted + end + tail)
    else:
        assert shown == wanted, "WRITE_DOCS=1 writes it"


def _limits() -> str:
    platforms = list(LIMITS.values())
    lines = [f"| | {' | '.join(each.name for each in platforms)} |", "|---" * (len(platforms) + 1) + "|"]
    for kind in PostKind:
        cells = [_kind(each.kinds[kind]) if kind in each.kinds else "–" for each in platforms]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    for what, name in (("text", "text_characters"), ("first comment", "first_comment_characters")):
        counts = (f"{getattr(each, name):,} characters" for each in platforms)
        lines.append(f"| {what} | {' | '.join(counts)} |")
    return "\n".join(lines) + "\n"


def _kind(kind: KindLimits) -> str:
    files = [each for each in (kind.pictures, kind.videos) if each]
    if not files:
        return "text alone"
    least, most = kind.pieces
    count = f"{least} to {most}: " if most > 1 else ""
    shape = "; the first one's shape is that of all" if kind.first_shapes_all else ""
    return (
        f"{count}{' or '.join(_file(each) for each in files)}{shape}{'' if kind.takes_text else '; no text'}"
    )


def _file(file: FileLimits) -> str:
    words = [file.formats]
    if file.max_bytes:
        whole = file.max_bytes % MIB == 0
        words.append(f"{file.max_bytes // (MIB if whole else MB)} {'MiB' if whole else 'MB'}")
    if file.ratios:
        words.append(file.ratio_words.replace(" and ", " to "))
    if file.min_seconds:
        most = f" to {file.max_seconds:.0f}" if file.max_seconds else " or more"
        words.append(f"{file.min_seconds:.0f}{most} s")
    return ", ".join(words)


@pytest.mark.parametrize(
    "path", sorted(DOCS.glob("*/*.md")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        if anchor:
            assert anchor in _anchors(found), target


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
