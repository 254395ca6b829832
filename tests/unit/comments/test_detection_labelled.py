"""Detection on the labelled set: whom to leave alone is right nearly always, in each language."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from labelled_comments import LABELS, judge, measure, rows_of

SET = Path(__file__).parents[2] / "data" / "comments.jsonl"


def test_the_set_is_large_and_has_both_languages_and_hard_cases() -> None:
    rows = rows_of(SET)
    assert len(rows) >= 300
    assert len({row["id"] for row in rows}) == len(rows)
    languages = Counter(row["lang"] for row in rows)
    assert min(languages["fr"], languages["en"]) >= 150
    assert sum(row["hard"] for row in rows) >= 100
    assert {row["split"] for row in rows} == {"dev", "heldout"}


def test_precision_and_recall() -> None:
    figures = measure(SET)
    for group, of_label in figures.items():
        shown = (
            f"{label} {found['precision']:.3f}/{found['recall']:.3f}" for label, found in of_label.items()
        )
        print(f"{group:12} precision/recall: {', '.join(shown)}")  # noqa: T201
    for language in ("fr", "en"):
        leave = figures[language]["leave"]
        assert leave["precision"] >= 0.97
        assert leave["recall"] >= 0.95
        # rows that no rule was written against
        unseen = figures[f"{language} heldout"]
        assert unseen["leave"]["precision"] >= 0.96
        assert unseen["leave"]["recall"] >= 0.88
        assert unseen["person"]["recall"] >= 0.65
    assert set(figures["fr"]) == set(LABELS)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_reasons_are_the_labelled_ones(language: str) -> None:
    rows = [row for row in rows_of(SET) if row["lang"] == language]
    right = sum(judge(row).reason.value == row["reason"] for row in rows)
    assert right / len(rows) >= 0.85
