"""The responder without a model: only the business's words, and always honest about itself."""

from __future__ import annotations

import pytest

from socialsync_common.ai import Attachment, ReplyRequest, Turn, create_responder
from socialsync_common.ai.builtin import BuiltinResponder
from socialsync_common.ai.texts import fixed_text
from socialsync_common.contracts import Platform
from socialsync_common.errors import ConfigError, PermanentError
from socialsync_common.settings import AISettings

ENGLISH = """
You are a friendly assistant. Never promise a refund.
Harbour Bakery, 12 Quay Street. We open from 7 a.m. to 6 p.m. on weekdays. Closed on Mondays.
- A box of six macarons costs 14 euros.
- Delivery within 10 km costs 5 euros; we do not deliver on Sundays.
[notes: sourdough is made with rye]
Good mornings start with our croissants.
"""
FRENCH = """
Boulangerie du Port, 12 rue du Quai. Nous sommes ouverts de 7 h à 18 h, sauf le lundi.
Le coffret de six macarons coûte 14 euros.
Les gâteaux d'anniversaire se commandent deux jours à l'avance.
"""


def ask(text: str, instructions: str = ENGLISH, attachments: tuple[Attachment, ...] = ()) -> str:
    turns = (
        Turn("customer", "How much are macarons?"),
        Turn("business", "14 euros."),
        Turn("customer", text, attachments),
    )
    request = ReplyRequest("Harbour Bakery", instructions, Platform.WHATSAPP, turns)
    reply = BuiltinResponder().reply(request)
    assert (reply.model, reply.handoff_reason) == ("built-in", None)
    return reply.text


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("When do you open?", "7 a.m. to 6 p.m."),
        ("what are your opening hours", "7 a.m. to 6 p.m."),
        ("Price of a macaron box?", "14 euros"),
        ("Do you deliver?", "Delivery within 10 km"),
        ("What is the address?", "12 Quay Street"),
        ("is there rye in the sourdough?", "[notes: sourdough is made with rye]"),
    ],
)
def test_answers_from_the_instructions(question: str, expected: str) -> None:
    answer = ask(question)
    assert expected in answer
    assert answer.endswith(fixed_text("automatic", "en"))
    assert len(answer.removesuffix(fixed_text("automatic", "en")).strip().splitlines()) <= 3


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Bonjour, vous ouvrez à quelle heure ?", "ouverts de 7 h"),
        ("C'est combien le macaron ?", "14 euros"),
        ("Je voudrais un GATEAU pour un anniversaire", "deux jours à l'avance"),
        ("Où est-ce que je vous trouve ?", "12 rue du Quai"),
    ],
)
def test_answers_in_french(question: str, expected: str) -> None:
    answer = ask(question, FRENCH)
    assert expected in answer
    assert answer.endswith(fixed_text("automatic", "fr"))


@pytest.mark.parametrize("instructions", [ENGLISH, "", "   \n"])
def test_says_that_it_does_not_know(instructions: str) -> None:
    assert ask("Can you repair my bicycle?", instructions) == fixed_text("not_known", "en")
    assert ask("Pouvez-vous réparer mon vélo ?", instructions) == fixed_text("not_known", "fr")


def test_only_the_unanswered_messages_count() -> None:
    assert "macarons" not in ask("When do you open?")


@pytest.mark.parametrize(
    ("greeting", "language"), [("Hello!", "en"), ("Good morning", "en"), ("Bonjour", "fr")]
)
def test_greets_back(greeting: str, language: str) -> None:
    answer = ask(greeting)
    assert answer.startswith(fixed_text("greeting", language))  # type: ignore[arg-type]
    assert answer.endswith(fixed_text("automatic", language))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("thanks", "language"), [("thanks!", "en"), ("Ok great, thank you", "en"), ("Merci beaucoup", "fr")]
)
def test_takes_thanks(thanks: str, language: str) -> None:
    assert ask(thanks).startswith(fixed_text("thanked", language))  # type: ignore[arg-type]


def test_a_greeting_with_a_question_is_a_question() -> None:
    assert "6 p.m." in ask("Good morning, when do you open?")


def test_what_is_said_to_the_assistant_is_not_quoted() -> None:
    for question in ("Are you a friendly assistant?", "Can I get a refund, promise?"):
        assert "You are a" not in ask(question)
        assert "Never promise" not in ask(question)


def test_a_voice_note_counts_by_its_transcript() -> None:
    heard = Attachment("audio", "audio/ogg", transcript="when do you open")
    assert "6 p.m." in ask("[audio]", attachments=(heard,))


def test_a_message_without_words_is_not_answered_with_a_greeting() -> None:
    assert ask("👍") == fixed_text("not_known", "en")


def test_hears_nothing() -> None:
    with pytest.raises(PermanentError, match="AI_BASE_URL"):
        BuiltinResponder().transcribe(b"", "audio/ogg")


def test_create_responder() -> None:
    assert create_responder(AISettings()).name == "built-in"
    assert create_responder(AISettings(ai_base_url="http://localhost:1/v1", ai_model="small")).name == "small"
    with pytest.raises(ConfigError, match="AI_MODEL"):
        create_responder(AISettings(ai_base_url="http://localhost:1/v1"))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_fixed_text_that_declines_offers_a_person(language: str) -> None:
    word = {"en": '"person"', "fr": "« une personne »"}[language]
    for name in ("cannot_see", "cannot_hear", "unsupported", "nothing_to_say", "not_known", "automatic"):
        assert word in fixed_text(name, language)  # type: ignore[arg-type]
