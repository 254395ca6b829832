"""All that the sandbox remembers, in memory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from socialsync_common.contracts import Platform
from socialsync_sandbox.faults import Faults
from socialsync_sandbox.media import Media
from socialsync_sandbox.outgoing import Kind

_KEPT = 200_000  # newest records and inbound ids; counters count on
_LINES_SHOWN = 300


@dataclass(slots=True, frozen=True)
class Sent:
    """One thing that a client sent. ``at``: Unix seconds of its acceptance."""

    seq: int
    at: float
    platform: Platform
    account: str
    contact: str | None
    text: str | None
    message_id: str | None
    callback_data: str | None
    kind: Kind
    dropped: bool


@dataclass(slots=True, frozen=True)
class Wanted:
    """Which records a reader asks for; ``None`` takes all."""

    platform: str | None = None
    account: str | None = None
    contact: str | None = None
    kind: str | None = None

    def takes(self, sent: Sent) -> bool:
        return (
            self.platform in (None, sent.platform)
            and self.account in (None, sent.account)
            and self.contact in (None, sent.contact)
            and self.kind in (None, sent.kind)
        )


class SentLog:
    """Records in order of acceptance. Sequence numbers only rise, also across ``clear``."""

    def __init__(self) -> None:
        self.last_seq = 0
        self._records: list[Sent] = []
        self._arrived = asyncio.Event()
        self._readers = 0
        self.kinds: Counter[str] = Counter()
        self.texts_of: Counter[str] = Counter()
        self.dropped = 0

    def record(
        self,
        platform: Platform,
        account: str,
        contact: str | None,
        kind: Kind,
        *,
        text: str | None = None,
        message_id: str | None = None,
        callback_data: str | None = None,
        dropped: bool = False,
    ) -> Sent:
        self.last_seq += 1
        sent = Sent(
            self.last_seq,
            time.time(),
            platform,
            account,
            contact,
            text,
            message_id,
            callback_data,
            kind,
            dropped,
        )
        self._records.append(sent)
        if len(self._records) >= 2 * _KEPT:
            del self._records[:_KEPT]
        if dropped:
            self.dropped += 1
        else:
            self.kinds[kind] += 1
            if kind is Kind.TEXT and contact is not None:
                self.texts_of[contact] += 1
        if self._readers:
            self._arrived.set()
            self._arrived = asyncio.Event()
        return sent

    def clear(self) -> None:
        self._records.clear()
        self.kinds.clear()
        self.texts_of.clear()
        self.dropped = 0

    def after(self, seq: int) -> Iterator[Sent]:
        if self._records:
            first = max(0, seq - self._records[0].seq + 1)
            yield from self._records[first:]

    async def read(self, after: int, wanted: Wanted, wait_seconds: float) -> list[Sent]:
        """What is wanted and newer than ``after``; waits for the first such record if there is none."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        self._readers += 1
        try:
            while True:
                found = [sent for sent in self.after(after) if wanted.takes(sent)]
                remaining = deadline - loop.time()
                if found or remaining <= 0:
                    return found
                after = max(after, self.last_seq)
                try:
                    async with asyncio.timeout(remaining):
                        await self._arrived.wait()
                except TimeoutError:
                    return []
        finally:
            self._readers -= 1


class Gate:
    """Holds those who come to it until it is opened; who comes later is held again."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self.held = 0

    def wait(self) -> Coroutine[Any, Any, None]:
        """Takes its place at the call, not when awaited: an opening in between is not missed."""
        return self._hold(self._opened)

    async def _hold(self, opened: asyncio.Event) -> None:
        self.held += 1
        try:
            await opened.wait()
        finally:
            self.held -= 1

    def open(self) -> None:
        self._opened.set()
        self._opened = asyncio.Event()


@dataclass(slots=True, frozen=True)
class Line:
    """One line of the conversation log that people look at."""

    at: float
    platform: Platform
    account: str
    contact: str
    who: str
    text: str


class State:
    def __init__(self) -> None:
        self.sent = SentLog()
        self.faults = Faults()
        self.gate = Gate()
        self.media: dict[str, Media] = {}
        self.lines: deque[Line] = deque(maxlen=_LINES_SHOWN)
        self._platform_of: dict[str, Platform] = {}
        self._account_of_contact: dict[str, str] = {}
        self._contact_of_message: dict[str, str] = {}

    def clear(self) -> None:
        """Forget everything; whoever is held goes on."""
        self.sent.clear()
        self.faults.clear()
        self.gate.open()
        for memory in (
            self.media,
            self.lines,
            self._platform_of,
            self._account_of_contact,
            self._contact_of_message,
        ):
            memory.clear()

    def learn_account(self, platform: Platform, account: str) -> None:
        self._platform_of[account] = platform

    def learn_message(self, platform: Platform, account: str, contact: str, message_id: str) -> None:
        self.learn_account(platform, account)
        self._account_of_contact[contact] = account
        self._contact_of_message[message_id] = contact
        if len(self._contact_of_message) > _KEPT:
            del self._contact_of_message[next(iter(self._contact_of_message))]

    def platform_of(self, account: str) -> Platform:
        """As learnt; else by the look of the id: Instagram's professional accounts begin with 1784."""
        guess = Platform.INSTAGRAM if account.startswith("1784") else Platform.MESSENGER
        return self._platform_of.get(account, guess)

    def contact_of_message(self, message_id: str) -> str | None:
        return self._contact_of_message.get(message_id)

    def me(self, contact: str | None) -> str | None:
        """Whom ``/me`` means where the token does not say: the one that the contact wrote to, else the only one."""
        if contact and (account := self._account_of_contact.get(contact)):
            return account
        known = [account for account, platform in self._platform_of.items() if platform != Platform.WHATSAPP]
        return known[0] if len(known) == 1 else None

    def say(self, platform: Platform, account: str, contact: str, who: str, text: str) -> None:
        self.lines.append(Line(time.time(), platform, account, contact, who, text))
