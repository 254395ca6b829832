"""Detection measured on labelled comments."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from socialsync_comments.detection import Heard, Rules, Said, Verdict, detect

LABELS = ("leave", "answer", "person")

Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def heard(row: Row) -> Heard:
    """A row as detection hears it."""
    business = row["business"]
    return Heard(
        text=row["text"],
        author_name=row["author"],
        is_reply=row["reply"],
        thread=tuple(Said(said["who"], said["text"]) for said in row["thread"]),
        own_names=frozenset({business["name"].lower(), f"@{business['handle']}".lower()}),
    )


def judge(row: Row) -> Verdict:
    return detect(heard(row), Rules.default())


def measure(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Precision and recall by group and label. Groups: language with split ("fr heldout"), and the language ("fr").

    ``{"fr": {"leave": {"precision": 0.99, "recall": 0.97, "rows": 120, "taken_for": {"answer": 3}}}}``;
    ``taken_for`` counts what rows of the label were taken for instead.
    """
    rows = rows_of(path)
    pairs: dict[str, Counter[tuple[str, str]]] = {}
    for row in rows:
        found = (row["label"], judge(row).outcome.value)
        for group in (row["lang"], f"{row['lang']} {row['split']}"):
            pairs.setdefault(group, Counter())[found] += 1
    return {
        group: {label: _figures(found, label) for label in LABELS} for group, found in sorted(pairs.items())
    }


def _figures(pairs: Counter[tuple[str, str]], label: str) -> dict[str, Any]:
    right = pairs[label, label]
    rows = sum(count for (wanted, _), count in pairs.items() if wanted == label)
    found = sum(count for (_, got), count in pairs.items() if got == label)
    return {
        "precision": right / found if found else 1.0,
        "recall": right / rows if rows else 1.0,
        "rows": rows,
        "taken_for": {
            other: pairs[label, other] for other in LABELS if other != label and pairs[label, other]
        },
    }
