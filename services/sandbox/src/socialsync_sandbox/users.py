"""Meta's users: they write, revoke and edit, and a person of the business answers from another app."""

from __future__ import annotations

import asyncio
import time
from secrets import SystemRandom
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import bodies, ids
from socialsync_sandbox.deliveries import RETRY_SECONDS, Delivered
from socialsync_sandbox.responses import Json, read
from socialsync_sandbox.sandbox import Sandbox, sandbox_of
from socialsync_sandbox.utterances import Said, Utterance, entry, render, summary

_random = SystemRandom()


class Who(BaseModel):
    """``user_id`` makes a WhatsApp contact without a phone, unless ``show_phone``: then it has both."""

    model_config = ConfigDict(extra="forbid")

    platform: Platform
    account: str = Field(min_length=1)
    contact: str = ""
    user_id: str | None = None
    show_phone: bool = False
    name: str | None = None
    retry_seconds: float = Field(default=RETRY_SECONDS, ge=0, le=3600)

    @model_validator(mode="after")
    def _is_somebody(self) -> Who:
        if not self.contact and not self.user_id:
            raise ValueError("contact or user_id is required")
        return self

    @property
    def person(self) -> bodies.Person:
        if self.platform is not Platform.WHATSAPP:
            return bodies.Person(self.name, scoped_id=self.contact or self.user_id)
        if self.user_id:
            phone = self.contact if self.show_phone else None
            return bodies.Person(self.name, phone=phone or None, user_id=self.user_id)
        if self.contact.isdigit():
            return bodies.Person(self.name, phone=self.contact)
        return bodies.Person(self.name, user_id=self.contact)


class Say(Who):
    """``duplicates``: how often each body is sent again; ``parallel``: how many are under way at once.

    With ``shuffle``, bodies leave out of order and the messages' times are a second apart, the last one now.
    """

    messages: list[Utterance] = Field(default_factory=list, max_length=1000)
    text: str | None = None
    duplicates: int = Field(default=0, ge=0, le=10_000)
    shuffle: bool = False
    one_body: bool = False
    parallel: int = Field(default=1, ge=1, le=256)

    @model_validator(mode="after")
    def _says_something(self) -> Say:
        if not self.utterances:
            raise ValueError("text or messages is required")
        return self

    @property
    def utterances(self) -> list[Utterance]:
        return self.messages or ([] if self.text is None else [Utterance(text=self.text)])


class Revoke(Who):
    message_id: str = Field(min_length=1)


class Edit(Revoke):
    text: str


class Answer(Who):
    text: str = Field(min_length=1)


async def say(request: Request) -> Response:
    """Answers ``{"deliveries": [{"status", "message_ids", "attempts"}]}`` when all have their outcome."""
    asked = await read(request, Say)
    sandbox = sandbox_of(request)
    said = _utter(sandbox, asked, str(request.base_url))
    groups = [said] if asked.one_body else [[one] for one in said]
    letters = [group for group in groups for _ in range(asked.duplicates + 1)]
    if asked.shuffle:
        _random.shuffle(letters)
    outcomes = await _deliver_all(sandbox, asked, letters)
    return Json(
        {
            "deliveries": [
                _report(outcome, [one.message_id for one in letter])
                for letter, outcome in zip(letters, outcomes, strict=True)
            ]
        }
    )


def _utter(sandbox: Sandbox, asked: Say, base_url: str) -> list[Said]:
    now = time.time()
    spacing = 1.0 if asked.shuffle else 0.001
    person = asked.person
    said = []
    for place, utterance in enumerate(asked.utterances):
        at = now - spacing * (len(asked.utterances) - 1 - place)
        message_id = ids.message_id(asked.platform, person.key, inbound=True)
        media_id = ids.numeric_id()
        if utterance.media:
            sandbox.state.media[media_id] = utterance.media
        content = render(asked.platform, utterance, message_id, media_id, base_url)
        said.append(Said(message_id, at, content))
        sandbox.state.learn_message(asked.platform, asked.account, person.key, message_id)
        sandbox.state.say(asked.platform, asked.account, person.key, "contact", summary(utterance))
    if asked.shuffle and asked.one_body:
        _random.shuffle(said)
    return said


async def _deliver_all(sandbox: Sandbox, asked: Say, letters: list[list[Said]]) -> list[Delivered]:
    person = asked.person
    outcomes: list[Delivered] = [Delivered(0, 0)] * len(letters)
    waiting = iter(enumerate(letters))

    async def postman() -> None:
        for place, letter in waiting:
            entries = [entry(asked.platform, asked.account, person, letter)]
            outcomes[place] = await sandbox.deliveries.deliver(asked.platform, entries, asked.retry_seconds)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(asked.parallel, len(letters))):
            group.create_task(postman())
    return outcomes


async def revoke(request: Request) -> Response:
    asked = await read(request, Revoke)
    if asked.platform is Platform.WHATSAPP:
        content: dict[str, Any] = {"revoke": {"original_message_id": asked.message_id}}
        return await _change(request, asked, "revoke", content)
    return await _change(
        request, asked, "message", {"message": {"mid": asked.message_id, "is_deleted": True}}
    )


async def edit(request: Request) -> Response:
    asked = await read(request, Edit)
    content: dict[str, Any]
    if asked.platform is Platform.WHATSAPP:
        message = {"type": "text", "text": {"body": asked.text}}
        content = {"edit": {"original_message_id": asked.message_id, "message": message}}
        return await _change(request, asked, "edit", content)
    content = {"message_edit": {"mid": asked.message_id, "text": asked.text, "num_edit": 1}}
    return await _change(request, asked, "message_edit", content)


async def _change(request: Request, asked: Revoke, kind: str, content: dict[str, Any]) -> Response:
    """A WhatsApp change is a message with an id of its own; elsewhere it only names the changed one."""
    sandbox = sandbox_of(request)
    person = asked.person
    message_id = asked.message_id
    if asked.platform is Platform.WHATSAPP:
        message_id = ids.message_id(asked.platform, person.key, inbound=True)
    said = Said(message_id, time.time(), (kind, content))
    entries = [entry(asked.platform, asked.account, person, [said])]
    sandbox.state.say(asked.platform, asked.account, person.key, "contact", f"[{kind}]")
    outcome = await sandbox.deliveries.deliver(asked.platform, entries, asked.retry_seconds)
    return Json({"deliveries": [_report(outcome, [message_id])]})


async def person_answers(request: Request) -> Response:
    """From the WhatsApp Business app or Meta's inbox: the gateway learns of it by an echo."""
    asked = await read(request, Answer)
    sandbox = sandbox_of(request)
    person = asked.person
    now = time.time()
    message_id = ids.message_id(asked.platform, person.key, inbound=False)
    if asked.platform is Platform.WHATSAPP:
        echo = bodies.whatsapp_echo(asked.account, person, message_id, now, asked.text)
    else:
        echo = bodies.messaging_echo(asked.account, person.key, message_id, now, asked.text)
    sandbox.state.learn_account(asked.platform, asked.account)
    sandbox.state.say(asked.platform, asked.account, person.key, "person", asked.text)
    outcome = await sandbox.deliveries.deliver(asked.platform, [echo], asked.retry_seconds)
    return Json({"deliveries": [_report(outcome, [message_id])]})


def _report(outcome: Delivered, message_ids: list[str]) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "message_ids": message_ids,
        "attempts": outcome.attempts,
        "refusals": outcome.refusals,
    }


routes = [
    Route("/sandbox/users/say", say, methods=["POST"]),
    Route("/sandbox/users/revoke", revoke, methods=["POST"]),
    Route("/sandbox/users/edit", edit, methods=["POST"]),
    Route("/sandbox/users/person", person_answers, methods=["POST"]),
]
