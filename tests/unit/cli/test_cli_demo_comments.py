"""The demo's comments: what passes, what does not, and how they are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from socialsync_cli.demo_comments import Commented, CommentsPlayed, check, thread
from socialsync_cli.sandbox import CommentAnswers
from socialsync_common.errors import SocialSyncError

ASKED = Commented("1", "ada.h", "How much is [one] loaf?", "answered", "a question")
CALLED = Commented("2", "marc.d", "@lea on y va ?", "left", "it is addressed to someone else")
AGREED = Commented("3", "lea", "oui !", "left", "two people talk to each other")
ANSWERS = CommentAnswers([("1", "A loaf costs 4.50 euros.")], 0.85)
GOOD = CommentsPlayed([ASKED, CALLED, AGREED], ANSWERS)


def shown(played: CommentsPlayed) -> str:
    console = Console(width=120, record=True, file=Path("/dev/null").open("w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(thread(played))
    return console.export_text()


def test_one_answer_to_the_question_passes() -> None:
    check(GOOD)


@pytest.mark.parametrize(
    ("comments", "fault"),
    [
        (
            [replace(ASKED, status="person", detail="a complaint"), CALLED, AGREED],
            r"the comment of ada\.h is person \(a complaint\), and should be answered",
        ),
        (
            [ASKED, replace(CALLED, status="answered", detail=None), AGREED],
            r"the comment of marc\.d is answered, and should be left",
        ),
        (
            [ASKED, CALLED, replace(AGREED, status=None, detail=None)],
            "the comment of lea is not stored, and should be left",
        ),
    ],
)
def test_a_comment_with_another_end_fails(comments: list[Commented], fault: str) -> None:
    with pytest.raises(SocialSyncError, match=rf"the demo failed: {fault}"):
        check(CommentsPlayed(comments, ANSWERS))


@pytest.mark.parametrize(
    "texts",
    [[], [("2", "Bonjour !")], [("1", "4.50 euros."), ("1", "4.50 euros.")], [("1", "a"), ("3", "b")]],
)
def test_anything_but_one_answer_on_the_platform_fails(texts: list[tuple[str, str]]) -> None:
    with pytest.raises(SocialSyncError, match=f"{len(texts)} answers are seen on Instagram"):
        check(replace(GOOD, answers=CommentAnswers(texts, 0.0)))


def test_the_comments_are_shown_with_their_answer_or_why_there_is_none() -> None:
    text = shown(GOOD)
    assert "     ada.h  How much is [one] loaf?" in text
    assert "SocialSync  A loaf costs 4.50 euros." in text
    assert "left alone: two people talk to each other" in text
    assert "3 comments, one answered after 0.85 s, two left alone" in text


def test_what_went_wrong_is_shown() -> None:
    text = shown(
        CommentsPlayed([replace(ASKED, status="new", detail=None), CALLED, AGREED], CommentAnswers([], 0.0))
    )
    assert "the comment of ada.h is new, and should be answered" in text
