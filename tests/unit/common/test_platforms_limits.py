"""Splitting: within the limit, nothing lost, no sign torn apart."""

from __future__ import annotations

import time
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socialsync_common.contracts import Platform
from socialsync_common.platforms.limits import MAX_PARTS, MESSAGING_WINDOW, split_text

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
FLAG = "🇫🇷"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
WAVE = "👋🏽"
KEYCAP = "1\ufe0f\u20e3"
ACCENTED = "e\u0301\u0323"
HINDI = "न\u093f"
SIGNS = (FAMILY, FLAG, SCOTLAND, WAVE, KEYCAP, ACCENTED, HINDI)


def size(platform: Platform, text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) if platform is Platform.INSTAGRAM else len(text)


LIMITS = {Platform.WHATSAPP: 4096, Platform.INSTAGRAM: 1000, Platform.MESSENGER: 2000}


def bare(text: str) -> str:
    return "".join(text.split())


texts = st.lists(
    st.tuples(
        st.sampled_from(
            ["mot", "Ärger", "привет", "。", ". ", "! ", "\n", "\n\n", " ", "\t", "x" * 700, *SIGNS]
        )
        | st.text(max_size=8),
        st.integers(1, 400),
    ).map(lambda one: one[0] * one[1]),
    max_size=14,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(platform=st.sampled_from(Platform), text=texts)
def test_split(platform: Platform, text: str) -> None:
    parts = split_text(platform, text)
    assert len(parts) <= MAX_PARTS
    assert all(part.strip() and size(platform, part) <= LIMITS[platform] for part in parts)
    said, kept = bare(text), bare("".join(parts))
    if kept != said:
        assert len(parts) == MAX_PARTS
        assert parts[-1].endswith("…")
        assert said.startswith(kept[:-1])


@settings(max_examples=200, deadline=None)
@given(platform=st.sampled_from(Platform), sign=st.sampled_from(SIGNS), before=st.text("ab ", max_size=9))
def test_no_sign_is_torn(platform: Platform, sign: str, before: str) -> None:
    parts = split_text(platform, before + sign * 3000)
    for part in parts[:-1]:
        assert part.endswith(sign)
    assert parts[-1].removesuffix("…").endswith(sign)
    assert all(not unicodedata.category(part[0]).startswith("M") for part in parts)


@pytest.mark.parametrize("platform", list(Platform))
def test_a_single_sign_beyond_the_limit_still_leaves(platform: Platform) -> None:
    parts = split_text(platform, "e" + "\u0301" * 9000)
    assert all(size(platform, part) <= LIMITS[platform] for part in parts)


def test_prefers_paragraphs_then_sentences_then_words() -> None:
    paragraph = "One two three. " * 80  # 1200 characters
    assert split_text(Platform.MESSENGER, f"{paragraph}\n\n{paragraph}") == [paragraph.strip()] * 2
    sentences = split_text(Platform.MESSENGER, paragraph * 3)
    assert all(part.endswith("three.") for part in sentences)
    words = split_text(Platform.MESSENGER, "word " * 900)
    assert all(set(part.split()) == {"word"} for part in words)
    assert len(words[0]) == 1999


def test_a_word_that_just_fits_stays_whole() -> None:
    first, second = "a" * 2000, "b" * 10
    assert split_text(Platform.MESSENGER, f"{first} {second}") == [first, second]


def test_short_texts_stay_as_they_are() -> None:
    assert split_text(Platform.WHATSAPP, "  Hello\n\nthere  ") == ["Hello\n\nthere"]
    assert split_text(Platform.WHATSAPP, "x" * 4096) == ["x" * 4096]
    assert split_text(Platform.WHATSAPP, " \n ") == []


def test_instagram_counts_bytes() -> None:
    assert len(split_text(Platform.INSTAGRAM, "x" * 1000)) == 1
    assert len(split_text(Platform.INSTAGRAM, "ж" * 500)) == 1
    assert len(split_text(Platform.INSTAGRAM, "ж" * 501)) == 2


def test_what_is_cut_is_said_to_be_cut() -> None:
    parts = split_text(Platform.MESSENGER, "word " * 10_000)
    assert len(parts) == MAX_PARTS
    assert parts[-1].endswith("word…")
    assert not any(part.endswith("…") for part in parts[:-1])
    assert split_text(Platform.MESSENGER, "x" * 20_000)[-1] == "x" * 2000


@pytest.mark.parametrize("platform", Platform)
def test_a_hundred_thousand_characters_are_split_at_once(platform: Platform) -> None:
    started = time.perf_counter()
    for piece in ("x", "\n", "word ", "a. ", "\n \t x", "e\u0301", "\u0301", "\u200d", "🇫🇷", FAMILY, "。"):
        parts = split_text(platform, (piece * 100_000)[:100_000])
        assert all(size(platform, part) <= LIMITS[platform] for part in parts)
    assert time.perf_counter() - started < 2


def test_half_a_surrogate_pair_is_no_fault() -> None:
    assert split_text(Platform.INSTAGRAM, "\ud83d" * 400)


def test_window() -> None:
    assert timedelta(hours=24) == MESSAGING_WINDOW
