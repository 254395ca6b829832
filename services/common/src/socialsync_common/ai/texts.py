"""Fixed texts in the contact's language."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "fr"]
TextName = Literal[
    "handing_over",
    "cannot_see",
    "cannot_hear",
    "unsupported",
    "nothing_to_say",
    "not_known",
    "greeting",
    "thanked",
    "praised",
    "automatic",
]

_TEXTS: dict[TextName, dict[Language, str]] = {
    "handing_over": {
        "en": "Of course: I am handing you over to a person of our team, who will answer you here.",
        "fr": "Bien sûr : je vous passe une personne de notre équipe, qui vous répondra ici.",
    },
    "cannot_see": {
        "en": 'I am an automatic assistant and cannot see pictures. Tell me in words, or write "person" to reach someone of our team.',
        "fr": "Je suis un assistant automatique et je ne vois pas les images. Décrivez-la-moi, ou écrivez « une personne » pour joindre notre équipe.",
    },
    "cannot_hear": {
        "en": 'I am an automatic assistant and cannot listen to voice messages. Write to me, or write "person" to reach someone of our team.',
        "fr": "Je suis un assistant automatique et je ne peux pas écouter les messages vocaux. Écrivez-moi, ou écrivez « une personne » pour joindre notre équipe.",
    },
    "unsupported": {
        "en": 'I could not read this kind of message. Could you write it as text, or write "person" to reach someone of our team?',
        "fr": "Je n'ai pas pu lire ce type de message. Pouvez-vous l'écrire en texte, ou écrire « une personne » pour joindre notre équipe ?",
    },
    "nothing_to_say": {
        "en": 'I have no answer to that. Could you say it in other words, or write "person" to reach someone of our team?',
        "fr": "Je n'ai pas de réponse à cela. Pouvez-vous le dire autrement, ou écrire « une personne » pour joindre notre équipe ?",
    },
    "not_known": {
        "en": 'I am an automatic assistant and do not know that. Write "person" and someone of our team will answer you.',
        "fr": "Je suis un assistant automatique et je ne le sais pas. Écrivez « une personne » et quelqu'un de notre équipe vous répondra.",
    },
    "greeting": {
        "en": "Hello! How can we help you?",
        "fr": "Bonjour ! Comment pouvons-nous vous aider ?",
    },
    "thanked": {
        "en": "You are welcome!",
        "fr": "Avec plaisir !",
    },
    "praised": {
        "en": "Thank you so much!",
        "fr": "Merci beaucoup !",
    },
    "automatic": {
        "en": '(Automatic reply. Write "person" to reach someone of our team.)',
        "fr": "(Réponse automatique. Écrivez « une personne » pour joindre notre équipe.)",
    },
}


def fixed_text(name: TextName, language: Language) -> str:
    """The text called ``name``."""
    return _TEXTS[name][language]
