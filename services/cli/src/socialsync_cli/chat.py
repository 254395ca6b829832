"""``socialsync chat``: write as a customer, through the sandbox, and see the answer."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable

from rich.text import Text

from socialsync_cli.console import TITLES, out
from socialsync_cli.sandbox import SandboxClient
from socialsync_common.contracts import Platform
from socialsync_common.errors import SocialSyncError

_ANSWER_SECONDS = 45.0
_POLL_SECONDS = 25.0


class Chat:
    """One contact's conversation with one account."""

    def __init__(self, sandbox: SandboxClient, platform: Platform, account: str, contact: str) -> None:
        self._sandbox = sandbox
        self._platform = platform
        self._account = account
        self._contact = contact
        self._seen = sandbox.last_seq()
        self._said_at: float | None = None  # unanswered since
        self._answered = threading.Event()
        self._answered.set()

    def say(self, text: str) -> None:
        self._answered.clear()
        self._said_at = time.time()
        self._sandbox.say(self._platform, self._account, self._contact, text)

    def wait_for_answer(self) -> bool:
        return self._answered.wait(_ANSWER_SECONDS)

    def listen(self) -> None:
        """Print answers as they come, for as long as the process lives."""
        while True:
            try:
                answers = self._sandbox.sent(self._contact, after=self._seen, wait=_POLL_SECONDS)
            except SocialSyncError:  # it may be starting again; whoever writes next is told
                time.sleep(1)
                continue
            for answer in answers:
                self._seen = answer.seq
                waited = "" if self._said_at is None else f"  {answer.at - self._said_at:.1f} s"
                out.print(
                    Text.assemble(("SocialSync  ", "bold green"), answer.text, (waited, "dim")),
                    soft_wrap=True,
                )
            if answers:
                self._answered.set()


def chat(
    sandbox: SandboxClient, platform: Platform, account: str, contact: str, lines: Iterable[str] | None = None
) -> None:
    """Send each line of ``lines`` (stdin) and show the answers.

    A person may write on while the answer is being made, and a burst gets one answer; from a pipe, each line waits
    for its own.

    Raises:
        SocialSyncError: an answer did not come, or the sandbox is away.
    """
    conversation = Chat(sandbox, platform, account, contact)
    threading.Thread(target=conversation.listen, name="answers", daemon=True).start()
    by_hand = lines is None and sys.stdin.isatty()
    if by_hand:
        out.print(Text(f"You are {contact} on {TITLES[platform]}. Write; Ctrl-D ends.", "dim"))
    for line in sys.stdin if lines is None else lines:
        text = line.strip()
        if not text:
            continue
        if not by_hand:
            out.print(Text.assemble(("You         ", "bold cyan"), text), soft_wrap=True)
        conversation.say(text)
        if not by_hand:
            _must_answer(conversation)
    _must_answer(conversation)


def _must_answer(conversation: Chat) -> None:
    if not conversation.wait_for_answer():
        raise SocialSyncError(
            f"no answer within {_ANSWER_SECONDS:.0f} s: a person may have taken the conversation over; see the logs"
        )
