"""How the command talks: to people on stdout, about faults on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from socialsync_common.contracts import Platform

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

TITLES = {Platform.WHATSAPP: "WhatsApp", Platform.INSTAGRAM: "Instagram", Platform.MESSENGER: "Messenger"}
PREFIX_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def step(text: str) -> None:
    """One line about what is being done."""
    out.print(Text.assemble(("socialsync ", "bold"), text), soft_wrap=True)


def note(text: str) -> None:
    """One line that must not mix with the output proper."""
    err.print(Text.assemble(("socialsync: ", "bold"), text), soft_wrap=True)
