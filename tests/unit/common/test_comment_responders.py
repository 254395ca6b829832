"""How responders answer comments: the assistant's signs, and the built-in responder's few words."""

from __future__ import annotations

from typing import Any

import pytest

from comment_requests import comment_request
from socialsync_common.ai.answers import COMMENT_CHARACTERS, cleaned_comment
from socialsync_common.ai.builtin import BuiltinResponder
from socialsync_common.ai.guard import unfit
from socialsync_common.ai.texts import fixed_text
from socialsync_common.errors import TransientError


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("We open at 7.", ("We open at 7.", None, False)),
        ("[[nothing]]", ("", None, True)),
        (" [[ Nothing ", ("", None, True)),
        ("[[nothing: two friends talk]]\n", ("", None, True)),
        ("<think>[[nothing]]</think>Yes.", ("Yes.", None, False)),
        ("[[person: allergic]]", ("", "allergic", False)),
        ("One moment. [[person]]", ("", "the assistant asks for a person", False)),
        ("[[nothing]] [[person: angry]]", ("", "angry", False)),
        ("Yes\u202e\x00.", ("Yes.", None, False)),
        ("x" * 3000, ("x" * (COMMENT_CHARACTERS - 1) + "…", None, False)),
    ],
)
def test_cleaned_comment(answer: str, expected: tuple[str, str | None, bool]) -> None:
    assert cleaned_comment(answer) == expected


@pytest.mark.parametrize("answer", ["", " \n", "<think>forever"])
def test_an_empty_answer_is_tried_again(answer: str) -> None:
    with pytest.raises(TransientError, match="empty"):
        cleaned_comment(answer)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("When do you open?", "Open from 7 a.m. to 6 p.m."),
        ("how much is a box of macarons", "a box of six macarons 14 euros"),
        ("Vous livrez ?", "Livraison gratuite"),
        ("Do you take cheques?", "no cheques"),
        ("does it have a crust that sings?", "with a crust that sings"),
        ("Hello!", "Hello! How can we help you?"),
        ("Love it 😍", "Thank you so much!"),
        ("Trop beau, bravo !", "Merci beaucoup !"),
        ("merci beaucoup", "Avec plaisir !"),
        ("thanks!", "You are welcome!"),
    ],
)
def test_the_built_in_responder_answers_in_short(comment: str, expected: str) -> None:
    request = comment_request(comment)
    reply = BuiltinResponder().comment(request)
    assert expected in reply.text
    assert (reply.model, reply.handoff_reason, reply.nothing_to_say) == ("built-in", None, False)
    assert "\n" not in reply.text
    assert len(reply.text) <= 300
    assert "person" not in reply.text
    assert unfit(reply.text, request) is None


@pytest.mark.parametrize(
    ("comment", "changes"),
    [
        ("Can you repair my bicycle?", {}),
        ("😍", {}),
        ("What is the secret word of the till?", {"caption": ""}),
        ("Great, but it was cold", {}),
        ("I would love a kayak", {}),
        ("win a kayak?", {"caption": "Win a kayak at https://kayak.example #win"}),
    ],
)
def test_where_it_knows_nothing_a_person_sees_the_comment(comment: str, changes: dict[str, Any]) -> None:
    reply = BuiltinResponder().comment(comment_request(comment, **changes))
    assert (reply.text, reply.handoff_reason) == ("", "the instructions do not tell")


def test_in_private_it_says_how_to_reach_a_person() -> None:
    reply = BuiltinResponder().comment(comment_request("When do you open?", private=True))
    assert "Open from 7 a.m." in reply.text
    assert reply.text.endswith(fixed_text("automatic", "en"))


def test_long_lines_are_cut() -> None:
    request = comment_request("rye?", instructions=f"Rye {'grain ' * 200}", caption="")
    text = BuiltinResponder().comment(request).text
    assert (len(text) <= 300, text[-1]) == (True, "…")
