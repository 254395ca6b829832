"""Instagram's publishing edges."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors, ids
from socialsync_sandbox.graph import json_object
from socialsync_sandbox.graph_errors import GraphError
from socialsync_sandbox.publishing.calls import Answer, perform
from socialsync_sandbox.publishing.faults import Step, fetch_failed, over_quota
from socialsync_sandbox.publishing.state import Container, File, Posts
from socialsync_sandbox.sandbox import sandbox_of

JPEG = b"\xff\xd8\xff"

_KINDS = {"IMAGE": "image", "STORIES": "story", "REELS": "reel", "VIDEO": "video"}
_VIDEOS = ("REELS", "VIDEO")


async def create(request: Request) -> Response:
    """``POST /{version}/{account}/media``."""
    account = request.path_params["node"]
    body = await json_object(request)

    async def effect() -> Answer:
        posts = sandbox_of(request).posts
        container = await (_carousel if body.get("media_type") == "CAROUSEL" else _single)(
            posts, account, body
        )
        return {"id": container.id}

    return await perform(request, Step.CONTAINER, account, effect)


async def _single(posts: Posts, account: str, body: dict[str, Any]) -> Container:
    media_type, is_child = str(body.get("media_type", "IMAGE")), body.get("is_carousel_item") is True
    is_video = "video_url" in body
    url = body.get("video_url" if is_video else "image_url")
    if media_type not in _KINDS:
        raise graph_errors.bad_parameter(f"media_type {media_type!r} is not known")
    if not isinstance(url, str) or not url or (media_type in _VIDEOS and not is_video):
        raise graph_errors.bad_parameter("The parameter video_url or image_url is required")
    if media_type == "IMAGE" and is_video:
        raise graph_errors.bad_parameter("media_type of a video is REELS, STORIES or, in a carousel, VIDEO")
    if (media_type == "VIDEO" and not is_child) or (media_type in ("REELS", "STORIES") and is_child):
        raise graph_errors.bad_parameter(f"media_type {media_type} cannot be used here")
    file = File(url, is_video)
    if not is_video:
        if not await posts.fetch(file):
            raise fetch_failed()
        if not file.magic.startswith(JPEG):
            raise GraphError(400, 36001, "The image format is not supported.", subcode=2207083)
    caption = str(body.get("caption") or "")
    return await posts.prepare(account, _KINDS[media_type], caption, [file], is_child=is_child)


async def _carousel(posts: Posts, account: str, body: dict[str, Any]) -> Container:
    children = body.get("children")
    if not isinstance(children, list) or not 2 <= len(children) <= 10:
        raise graph_errors.bad_parameter("A carousel has 2 to 10 children")
    known = [posts.containers.get(str(child)) for child in children]
    if any(each is None or each.account != account or not each.is_child for each in known):
        raise graph_errors.bad_parameter("Invalid children")
    if any(each.status(posts.clock()) != "FINISHED" for each in known if each):
        raise GraphError(400, 9007, "Media ID is not available", subcode=2207027)
    files = [file for each in known if each for file in each.files]
    return await posts.prepare(account, "carousel", str(body.get("caption") or ""), files)


async def publish(request: Request) -> Response:
    """``POST /{version}/{account}/media_publish``."""
    account = request.path_params["node"]
    body = await json_object(request)

    async def effect() -> Answer:
        posts = sandbox_of(request).posts
        container = posts.containers.get(str(body.get("creation_id")))
        if container is None or container.account != account:
            raise graph_errors.unknown_object(str(body.get("creation_id")))
        status = container.status(posts.clock())
        if status == "PUBLISHED":
            posts.repeated_publishes += 1
            raise GraphError(400, 24, "The requested resource does not exist", subcode=2207006)
        if container.is_child:
            raise graph_errors.bad_parameter("An item of a carousel is not published by itself")
        if status != "FINISHED":
            raise GraphError(400, 9007, "Media ID is not available", subcode=2207027)
        used, total = posts.quota_of(account)
        if used >= total:
            raise over_quota()
        code = secrets.token_urlsafe(8)
        post = posts.go_live(
            Platform.INSTAGRAM, account, container.kind, container.text, container.files,
            media_id=ids.numeric_id(), permalink=f"https://www.instagram.com/p/{code}/", containers=[container],
        )  # fmt: skip
        return {"id": post.media_id}

    return await perform(request, Step.PUBLISH, account, effect)


async def quota(request: Request) -> Response:
    account = request.path_params["node"]

    async def effect() -> Answer:
        used, total = sandbox_of(request).posts.quota_of(account)
        return {"data": [{"quota_usage": used, "config": {"quota_total": total, "quota_duration": 86400}}]}

    return await perform(request, Step.QUOTA, account, effect)


routes = [
    Route("/{version:graph}/{node}/media", create, methods=["POST"]),
    Route("/{version:graph}/{node}/media_publish", publish, methods=["POST"]),
    Route("/{version:graph}/{node}/content_publishing_limit", quota, methods=["GET"]),
]
