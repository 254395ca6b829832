"""What the app does about comments: it answers, publicly or privately, hides and likes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from socialsync_common.contracts import Platform
from socialsync_sandbox import bodies, graph, graph_errors, ids
from socialsync_sandbox.comments import webhooks
from socialsync_sandbox.comments.calls import call, comment_of, refuse_if_deleted, thread_of
from socialsync_sandbox.comments.state import Author, By, Comment, Thread
from socialsync_sandbox.graph import bearer_of, json_object
from socialsync_sandbox.outgoing import Text, parse_messaging
from socialsync_sandbox.publishing.calls import Answer
from socialsync_sandbox.publishing.faults import Step
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

_PRIVATE_REPLY_SECONDS = 7 * 86400
_MAX_CHARACTERS = {Platform.INSTAGRAM: 2200, Platform.MESSENGER: 8000}


async def comments(request: Request) -> Response:
    """``POST /{version}/{node}/comments``: below a post, or a Page's answer to a comment."""
    comment = sandbox_of(request).comments.get(request.path_params["node"])
    if comment is not None and comment.thread.post.platform is Platform.MESSENGER:
        return await _reply(request, comment)
    thread = thread_of(request)
    body = await json_object(request)

    async def effect() -> Answer:
        return {"id": say(sandbox_of(request), thread, None, By.APP, _message(body, thread)).id}

    return await call(request, Step.COMMENT, thread.post, effect)


async def replies(request: Request) -> Response:
    """``POST /{version}/{comment}/replies``: Instagram's."""
    return await _reply(request, comment_of(request))


async def _reply(request: Request, comment: Comment) -> Response:
    body = await json_object(request)

    async def effect() -> Answer:
        sandbox, text = sandbox_of(request), _message(body, comment.thread)
        refuse_if_deleted(comment)
        sandbox.comments.answered(comment, text, private=False)
        return {"id": say(sandbox, comment.thread, comment, By.APP, text).id}

    return await call(request, Step.REPLY, comment.thread.post, effect)


async def messages(request: Request) -> Response:
    """``POST /{version}/{account}/messages``: a private answer to a comment; else a message to a contact."""
    bearer_of(request)
    body = await json_object(request)
    recipient = body.get("recipient")
    comment_id = recipient.get("comment_id") if isinstance(recipient, dict) else None
    if comment_id is None:
        return await graph.send(request)
    sandbox = sandbox_of(request)
    comment = sandbox.comments.get(str(comment_id))
    if comment is None or request.path_params["node"] not in (comment.thread.post.account, "me"):
        raise graph_errors.unknown_object(str(comment_id))
    found = comment
    platform = found.thread.post.platform

    async def effect() -> Answer:
        to = {"id": found.author.id}
        asked = parse_messaging(platform, {"recipient": to, "message": body.get("message")})
        assert isinstance(asked, Text)  # noqa: S101 - there is no sender_action
        return _message_privately(sandbox, found, asked.text)

    return await call(request, Step.PRIVATE_REPLY, found.thread.post, effect)


def _message_privately(sandbox: Sandbox, comment: Comment, text: str) -> Answer:
    """Once for each comment. Raises GraphError."""
    refuse_if_deleted(comment)
    if comment.id in sandbox.comments.tally.private:
        raise graph_errors.already_replied()
    now = sandbox.comments.clock()
    if now - comment.at > _PRIVATE_REPLY_SECONDS:
        raise graph_errors.window(whatsapp=False)
    post, contact = comment.thread.post, comment.author.id
    message_id = ids.message_id(post.platform, contact, inbound=False)
    sandbox.comments.answered(comment, text, private=True)
    sandbox.state.say(post.platform, post.account, contact, "app", text)
    if sandbox.status_webhooks:
        echo = bodies.messaging_echo(post.account, contact, message_id, now, text)
        sandbox.deliveries.enqueue(post.platform, [echo])
    return {"recipient_id": contact, "message_id": message_id}


async def change(request: Request) -> Response:
    """``POST /{version}/{comment}``: it is hidden, or shown again."""
    comment = comment_of(request)
    is_instagram = comment.thread.post.platform is Platform.INSTAGRAM
    body: dict[str, Any] = {} if is_instagram else await json_object(request)
    wish = request.query_params.get("hide") if is_instagram else body.get("is_hidden")

    async def effect() -> Answer:
        if wish not in ("true", "false", True, False):
            raise graph_errors.bad_parameter("Say whether the comment is hidden")
        sandbox, is_hidden = sandbox_of(request), wish in ("true", True)
        refuse_if_deleted(comment)
        sandbox.comments.hide(comment, is_hidden=is_hidden)
        if sandbox.status_webhooks and not is_instagram:
            _tell(sandbox, comment, webhooks.changed(comment, "hide" if is_hidden else "unhide"))
        return {"success": True}

    return await call(request, Step.HIDE, comment.thread.post, effect)


async def like(request: Request) -> Response:
    """``POST /{version}/{comment}/likes``: a Page's; Instagram has no such edge."""
    comment = comment_of(request)
    if comment.thread.post.platform is Platform.INSTAGRAM:
        bearer_of(request)
        raise graph_errors.unknown_path(request.url.path)

    async def effect() -> Answer:
        refuse_if_deleted(comment)
        sandbox_of(request).comments.like(comment)
        return {"success": True}

    return await call(request, Step.LIKE, comment.thread.post, effect)


def say(sandbox: Sandbox, thread: Thread, parent: Comment | None, by: By, text: str) -> Comment:
    """As the account; Meta tells the app of it as of any comment."""
    post = thread.post
    author = Author(post.account, sandbox.accounts.name_of(post.platform, post.account))
    comment = sandbox.comments.write(thread, author, by, text, parent)
    if by is By.APP and sandbox.status_webhooks:
        _tell(sandbox, comment, webhooks.written(comment))
    return comment


def _tell(sandbox: Sandbox, comment: Comment, change: webhooks.Change) -> None:
    post = comment.thread.post
    entry = webhooks.entry(post.account, [change], sandbox.comments.clock())
    sandbox.deliveries.enqueue(post.platform, [entry])


def _message(body: dict[str, Any], thread: Thread) -> str:
    """Raises GraphError."""
    text, most = body.get("message"), _MAX_CHARACTERS[thread.post.platform]
    if not isinstance(text, str) or not text:
        raise graph_errors.bad_parameter("The parameter message is required")
    if len(text) > most:
        raise graph_errors.bad_parameter(f"The parameter message must have at most {most} characters")
    return text
