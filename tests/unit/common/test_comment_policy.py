from __future__ import annotations

from typing import Any

import pytest

from socialsync_common.comment_policy import faults_of_rules


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"off": ["emoji_only"], "leave": ["giveaway", "🎁", "tag a|your friend", "win ... price"]},
        {"complaint": {"add": ["late order", "froid*"], "remove": ["cold"]}},
    ],
)
def test_what_a_business_may_adjust(rules: dict[str, Any]) -> None:
    assert list(faults_of_rules(rules)) == []


@pytest.mark.parametrize(
    ("rules", "pointer"),
    [
        ({"nonsense": []}, "/nonsense"),
        ({"off": ["sensitive"]}, "/off/0"),
        ({"off": "emoji_only"}, "/off"),
        ({"leave": [":)"]}, "/leave/0"),
        ({"leave": ["fine", "a|"]}, "/leave/1"),
        ({"leave": ["{2}"]}, "/leave/0"),
        ({"leave": ["x" * 81]}, "/leave/0"),
        ({"spam": ["win"]}, "/spam"),
        ({"spam": {"add": [1]}}, "/spam/add/0"),
        ({"leave": ["word"] * 201}, ""),
    ],
)
def test_each_fault_says_where_it_is(rules: dict[str, Any], pointer: str) -> None:
    assert pointer in [where for where, _ in faults_of_rules(rules)]
