"""Who asks for a person, and in which language: measured on phrases with labels."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from socialsync_common.ai.intent import detect_language, fold, wants_person

ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("person_phrases.tsv").read_text(encoding="utf-8").splitlines()
]
ASKS = [phrase for label, phrase in ROWS if label == "asks"]
DOES_NOT_ASK = [phrase for label, phrase in ROWS if label == "other"]


def test_phrases_are_many_and_distinct() -> None:
    assert len(ASKS) + len(DOES_NOT_ASK) == len(ROWS)
    assert len(set(ASKS)) == len(ASKS) >= 80
    assert len(set(DOES_NOT_ASK)) == len(DOES_NOT_ASK) >= 80
    assert not set(ASKS) & set(DOES_NOT_ASK)


def test_precision_and_recall(capsys: pytest.CaptureFixture[str]) -> None:
    missed = [phrase for phrase in ASKS if not wants_person(phrase)]
    mistaken = [phrase for phrase in DOES_NOT_ASK if wants_person(phrase)]
    found = len(ASKS) - len(missed)
    precision, recall = found / (found + len(mistaken)), found / len(ASKS)
    with capsys.disabled():
        sizes = f"{len(ASKS)} + {len(DOES_NOT_ASK)} phrases"
        print(f"\nwants_person: precision {precision:.3f}, recall {recall:.3f} on {sizes}")  # noqa: T201
    assert precision >= 0.95, mistaken
    assert recall >= 0.95, missed


def test_a_request_in_a_burst_is_found_among_other_messages() -> None:
    assert wants_person("Hello\nIs the red one in stock?\nPersonne n'a répondu hier\nUn conseiller svp")


def test_hostile_text_is_read_quickly() -> None:
    started = time.perf_counter()
    for text in (
        "a " * 5000,
        "talk to " * 2000,
        "parler a avec un " * 1500,
        "je veux " * 2000,
        "can someone real " * 500,
        "mettez moi un une un " * 400,
        "get the real actual " * 500,
        "x" * 100_000,
    ):
        wants_person(text)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bonjour, vous ouvrez quand ?", "fr"),
        ("C'est combien ?", "fr"),
        ("une personne", "fr"),
        ("Quels sont vos horaires ?", "fr"),
        ("What are your hours?", "en"),
        ("person", "en"),
        ("Do you sell croissants?", "en"),
        ("👍", "en"),
        ("", "en"),
        ("Où êtes-vous ?", "fr"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_fold() -> None:
    assert fold("  L'Été à l'Œuvre, ÇA va ?! ") == "l ete a l oeuvre ca va"
