"""What tests, benches and people steer and count posts with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_sandbox.publishing.faults import PostingFault
from socialsync_sandbox.responses import Json, read
from socialsync_sandbox.sandbox import sandbox_of


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PostsQuery(_Body):
    account: str | None = None
    after: int = Field(default=0, ge=0)
    wait: float = Field(default=0.0, ge=0, le=300)


class QuotaOrder(_Body):
    account: str
    used: int | None = Field(default=None, ge=0)
    total: int | None = Field(default=None, ge=0)


class ProcessingOrder(_Body):
    seconds: float = Field(default=0.0, ge=0, le=86400)
    outcome: Literal["FINISHED", "ERROR"] = "FINISHED"
    kind: Literal["image", "video"] | None = None


class Latency(_Body):
    seconds: float = Field(ge=0, le=60)


class AccountOnly(_Body):
    account: str | None = None


async def list_posts(request: Request) -> Response:
    """In order of publication, with what the app commented; waits for a post newer than ``after`` for ``wait`` seconds."""
    query = PostsQuery.model_validate(dict(request.query_params))
    sandbox = sandbox_of(request)
    posts = await sandbox.posts.read(query.after, query.account, query.wait)
    return Json([{**post.shown(), "comments": sandbox.comments.own(post.media_id)} for post in posts])


async def counts(request: Request) -> Response:
    posts = sandbox_of(request).posts
    return Json(
        {
            "posts": len(posts.posts),
            "by_account": {account: len(those) for account, those in posts.of_account.items()},
            "repeated_publishes": posts.repeated_publishes,
            "containers": len(posts.containers),
            "without_proof": posts.without_proof,
            "last_seq": posts.last_seq,
        }
    )


async def preview(request: Request) -> Response:
    """A small picture of a post, for the page."""
    post = sandbox_of(request).posts.by_id.get(request.path_params["post"])
    content = next((file.preview for file in post.files if file.preview), None) if post else None
    return Response(content or b"", 200 if content else 404, media_type="image/jpeg")


async def set_quota(request: Request) -> Response:
    order = await read(request, QuotaOrder)
    posts = sandbox_of(request).posts
    if order.used is not None:
        posts.quota_used[order.account] = order.used
    if order.total is not None:
        posts.quota_total[order.account] = order.total
    return Json({"success": True})


async def set_processing(request: Request) -> Response:
    order = await read(request, ProcessingOrder)
    for kind, processing in sandbox_of(request).posts.processing.items():
        if order.kind in (None, kind):
            processing.seconds, processing.outcome = order.seconds, order.outcome
    return Json({"success": True})


async def set_latency(request: Request) -> Response:
    sandbox_of(request).posts.latency = (await read(request, Latency)).seconds
    return Json({"success": True})


async def expire(request: Request) -> Response:
    """All unpublished containers have expired."""
    account = (await read(request, AccountOnly)).account
    for container in sandbox_of(request).posts.containers.values():
        if account in (None, container.account):
            container.is_expired = True
    return Json({"success": True})


async def add_fault(request: Request) -> Response:
    sandbox_of(request).posts.faults.add(await read(request, PostingFault))
    return Json({"success": True})


async def list_faults(request: Request) -> Response:
    sandbox = sandbox_of(request)
    faults = [fault.model_dump() for fault in sandbox.posts.faults.queue]
    return Json({"faults": faults, "held": sandbox.state.gate.held})


async def clear_faults(request: Request) -> Response:
    sandbox_of(request).posts.faults.clear()
    return Json({"success": True})


routes = [
    Route("/sandbox/posts", list_posts),
    Route("/sandbox/posts/counts", counts),
    Route("/sandbox/posts/{post}/preview", preview),
    Route("/sandbox/quota", set_quota, methods=["POST"]),
    Route("/sandbox/processing", set_processing, methods=["POST"]),
    Route("/sandbox/latency", set_latency, methods=["POST"]),
    Route("/sandbox/containers/expire", expire, methods=["POST"]),
    Route("/sandbox/posting-faults", list_faults),
    Route("/sandbox/posting-faults", add_fault, methods=["POST"]),
    Route("/sandbox/posting-faults", clear_faults, methods=["DELETE"]),
]
