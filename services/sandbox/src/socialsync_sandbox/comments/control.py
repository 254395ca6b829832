"""What people do: they post, comment, edit, delete, and the business's own people answer and hide."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors, ids
from socialsync_sandbox.comments import webhooks
from socialsync_sandbox.comments.pictures import jpeg
from socialsync_sandbox.comments.report import brief, report
from socialsync_sandbox.comments.state import Author, By, Comment, Thread
from socialsync_sandbox.comments.webhooks import Shape, Verb
from socialsync_sandbox.comments.writing import say
from socialsync_sandbox.publishing.state import Post
from socialsync_sandbox.responses import Json, read
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

_PICTURES = 32  # generated ones

Commented = Literal[Platform.INSTAGRAM, Platform.MESSENGER]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PostsOrder(_Body):
    """``pictures``: a carousel's; other posts have one, texts none. ``count``: how many such posts."""

    platform: Commented
    account: str = Field(min_length=1)
    caption: str = ""
    kind: Literal["image", "reel", "video", "carousel", "text"] = "image"
    pictures: int = Field(default=1, ge=0, le=10)
    age_seconds: float = Field(default=0.0, ge=0)
    count: int = Field(default=1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _is_shown_there(self) -> PostsOrder:
        if self.kind == "text" and self.platform is Platform.INSTAGRAM:
            raise ValueError("Instagram has no posts without a picture")
        return self


class Writer(_Body):
    id: str = Field(min_length=1)
    name: str = ""


class Write(_Body):
    """``parent``: the comment that this one answers. Without ``webhook`` only readers find it.

    ``shape``, ``live``: Instagram's. ``duplicates``: how often the body is sent again.
    """

    platform: Commented | None = None
    post: str
    author: Writer
    text: str
    parent: str | None = None
    webhook: bool = True
    shape: Shape = "id"
    live: bool = False
    duplicates: int = Field(default=0, ge=0, le=1000)
    age_seconds: float = Field(default=0.0, ge=0)


class Change(_Body):
    comment: str
    webhook: bool = True


class Wording(Change):
    text: str = Field(min_length=1)


class Mention(_Body):
    """Without ``comment_id`` the account is named in the caption."""

    account: str = Field(min_length=1)
    comment_id: str | None = None
    media_id: str | None = None


class UsageOrder(_Body):
    account: str = Field(min_length=1)
    calls_per_window: int = Field(default=1000, ge=1)
    window_seconds: float = Field(default=3600.0, gt=0)


async def add_posts(request: Request) -> Response:
    """By the account, and not from the app."""
    order = await read(request, PostsOrder)
    sandbox = sandbox_of(request)
    sandbox.state.learn_account(order.platform, order.account)
    pictures = {"carousel": order.pictures, "text": 0}.get(order.kind, min(order.pictures, 1))
    posts = [
        sandbox.comments.add_post(
            order.platform, order.account, order.kind, order.caption, pictures, order.age_seconds
        )
        for _ in range(order.count)
    ]
    return Json({"posts": [post.media_id for post in posts]})


async def write(request: Request) -> Response:
    order = await read(request, Write)
    sandbox = sandbox_of(request)
    thread = thread_of(sandbox, order.post, order.platform)
    parent = comment_of(sandbox, order.parent) if order.parent else None
    if parent is not None and parent.thread is not thread:
        raise graph_errors.unknown_object(parent.id, 404)
    author = Author(order.author.id, order.author.name or f"user{order.author.id[-6:]}")
    comment = sandbox.comments.write(thread, author, By.CONTACT, order.text, parent, order.age_seconds)
    change = webhooks.written(comment, shape=order.shape, is_live=order.live)
    is_flat = order.shape == "flat" and thread.post.platform is Platform.INSTAGRAM
    times = order.duplicates + 1 if order.webhook else 0
    reports = [
        await _deliver(sandbox, thread.post, change, comment.at, is_flat=is_flat) for _ in range(times)
    ]
    return Json({"comment_id": comment.id, "deliveries": reports})


async def edit(request: Request) -> Response:
    order = await read(request, Wording)
    comment = comment_of(sandbox_of(request), order.comment)
    comment.text = order.text
    return await _tell(request, comment, "edited", order.webhook)


async def delete(request: Request) -> Response:
    order = await read(request, Change)
    comment = comment_of(sandbox_of(request), order.comment)
    sandbox_of(request).comments.delete(comment)
    return await _tell(request, comment, "remove", order.webhook)


async def hide(request: Request) -> Response:
    order = await read(request, Change)
    comment = comment_of(sandbox_of(request), order.comment)
    sandbox_of(request).comments.hide(comment, is_hidden=True)
    return await _tell(request, comment, "hide", order.webhook)


async def person_answers(request: Request) -> Response:
    """In the platform's own app: it looks as if the account had said it."""
    order = await read(request, Wording)
    sandbox = sandbox_of(request)
    asked = comment_of(sandbox, order.comment)
    comment = say(sandbox, asked.thread, asked, By.PERSON, order.text)
    change, post = webhooks.written(comment), comment.thread.post
    reports = [await _deliver(sandbox, post, change, comment.at)] if order.webhook else []
    return Json({"comment_id": comment.id, "deliveries": reports})


async def mention(request: Request) -> Response:
    """On somebody else's post."""
    order = await read(request, Mention)
    sandbox = sandbox_of(request)
    change = webhooks.mention(order.comment_id, order.media_id or ids.numeric_id())
    entry = webhooks.entry(order.account, [change], sandbox.comments.clock())
    outcome = await sandbox.deliveries.deliver(Platform.INSTAGRAM, [entry])
    return Json({"deliveries": [{"status": outcome.status, "attempts": outcome.attempts}]})


async def threads(request: Request) -> Response:
    """A post's comments as its account sees them, newest thread first."""
    thread = thread_of(sandbox_of(request), request.query_params.get("post", ""))
    tops = [
        {**_shown(top), "replies": [_shown(reply) for reply in top.replies.all()]}
        for top in reversed(thread.top.all())
    ]
    return Json({"post": thread.post.media_id, "count": len(thread.all), "threads": tops})


async def allow(request: Request) -> Response:
    order = await read(request, UsageOrder)
    sandbox_of(request).comments.usages.allow(order.account, order.calls_per_window, order.window_seconds)
    return Json({"success": True})


async def get_report(request: Request) -> Response:
    full = report(sandbox_of(request).comments)
    return Json(brief(full) if request.query_params.get("brief") == "1" else full)


async def picture(request: Request) -> Response:
    """Of a post: as it was published while that is kept, else a generated one."""
    thread = thread_of(sandbox_of(request), request.path_params["post"])
    place = request.path_params["place"]
    if place >= len(thread.post.files):
        raise graph_errors.unknown_object(f"{thread.post.media_id}/{place}", 404)
    number = int(thread.post.media_id[-4:]) + place
    content = thread.post.files[place].preview or jpeg(number % _PICTURES)
    return Response(content, media_type="image/jpeg")


def thread_of(sandbox: Sandbox, post_id: str, platform: Platform | None = None) -> Thread:
    """Of a post, on this platform if one is named. Raises GraphError."""
    thread = sandbox.comments.thread_of(post_id)
    if thread is None or platform not in (None, thread.post.platform):
        raise graph_errors.unknown_object(post_id, 404)
    return thread


def comment_of(sandbox: Sandbox, comment_id: str) -> Comment:
    """Raises GraphError."""
    comment = sandbox.comments.get(comment_id)
    if comment is None:
        raise graph_errors.unknown_object(comment_id, 404)
    return comment


async def _tell(request: Request, comment: Comment, verb: Verb, webhook: bool) -> Response:
    """Meta's webhook of a change, which a Page alone has."""
    sandbox, post = sandbox_of(request), comment.thread.post
    reports = []
    if webhook and post.platform is Platform.MESSENGER:
        change = webhooks.changed(comment, verb)
        reports.append(await _deliver(sandbox, post, change, sandbox.comments.clock()))
    return Json({"deliveries": reports})


async def _deliver(
    sandbox: Sandbox, post: Post, change: webhooks.Change, at: float, *, is_flat: bool = False
) -> dict[str, int]:
    """``at``: when it happened."""
    entry = webhooks.flat(post.account, change, at) if is_flat else webhooks.entry(post.account, [change], at)
    outcome = await sandbox.deliveries.deliver(post.platform, [entry])
    return {"status": outcome.status, "attempts": outcome.attempts}


def _shown(comment: Comment) -> dict[str, Any]:
    return {
        "id": comment.id,
        "parent": comment.parent.id if comment.parent else None,
        "author": {"id": comment.author.id, "name": comment.author.name},
        "by": comment.by,
        "text": comment.text,
        "at": comment.at,
        "hidden": comment.is_hidden,
        "liked": comment.is_liked,
    }


routes = [
    Route("/sandbox/comments/posts", add_posts, methods=["POST"]),
    Route("/sandbox/comments/write", write, methods=["POST"]),
    Route("/sandbox/comments/edit", edit, methods=["POST"]),
    Route("/sandbox/comments/delete", delete, methods=["POST"]),
    Route("/sandbox/comments/hide", hide, methods=["POST"]),
    Route("/sandbox/comments/person", person_answers, methods=["POST"]),
    Route("/sandbox/comments/mention", mention, methods=["POST"]),
    Route("/sandbox/comments/threads", threads),
    Route("/sandbox/comments/report", get_report),
    Route("/sandbox/usage", allow, methods=["POST"]),
    Route("/sandbox/cdn/{post}/{place:int}", picture),
]
