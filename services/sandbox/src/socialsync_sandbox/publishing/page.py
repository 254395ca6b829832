"""A Facebook Page's publishing edges."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors, ids
from socialsync_sandbox.graph import bearer_of, json_object
from socialsync_sandbox.graph_errors import GraphError
from socialsync_sandbox.publishing.calls import Answer, number, perform, perform_unsigned
from socialsync_sandbox.publishing.faults import Step, duplicate
from socialsync_sandbox.publishing.state import Container, File, Post, Posts, meta_time
from socialsync_sandbox.sandbox import sandbox_of

_PHASES = {
    "IN_PROGRESS": "in_progress",
    "FINISHED": "complete",
    "PUBLISHED": "complete",
    "ERROR": "error",
    "EXPIRED": "not_started",
}
_WORDS = {
    "IN_PROGRESS": "processing",
    "FINISHED": "ready",
    "PUBLISHED": "ready",
    "ERROR": "error",
    "EXPIRED": "expired",
}


async def photos(request: Request) -> Response:
    """``POST /{version}/{page}/photos``, unpublished."""
    page = request.path_params["node"]
    body = await json_object(request)

    async def effect() -> Answer:
        posts = sandbox_of(request).posts
        file = File(str(body.get("url")), is_video=False)
        if body.get("published") is not False:
            raise graph_errors.bad_parameter("The sandbox takes unpublished photos only")
        if not await posts.fetch(file):
            raise GraphError(400, 324, "Missing or invalid image file", subcode=2069019)
        return {"id": (await posts.prepare(page, "image", "", [file])).id}

    return await perform(request, Step.PHOTO, page, effect)


async def feed(request: Request) -> Response:
    """``POST /{version}/{page}/feed``."""
    page = request.path_params["node"]
    body = await json_object(request)

    async def effect() -> Answer:
        posts = sandbox_of(request).posts
        containers = [_own(posts, page, photo) for photo in _attached(body)]
        message, link = str(body.get("message") or ""), str(body.get("link") or "")
        if not message and not link and not containers:
            raise graph_errors.bad_parameter("The post is empty: give message, link or attached_media")
        newest = posts.newest(page, stories=False, limit=1)
        shared = {each.id for each in containers}
        if newest and _is_same(newest[0], message, link, shared):
            raise duplicate()
        if any(each.post is not None for each in containers):
            posts.repeated_publishes += 1
            raise graph_errors.bad_parameter("The photo is published already")
        if any(each.status(posts.clock()) == "EXPIRED" for each in containers):
            raise graph_errors.unknown_object("attached_media")
        kind = "text" if not containers else "image" if len(containers) == 1 else "carousel"
        return {"id": _publish(posts, page, kind, message, containers, link).media_id}

    return await perform(request, Step.PUBLISH, page, effect)


async def photo_stories(request: Request) -> Response:
    page = request.path_params["node"]
    body = await json_object(request)

    async def effect() -> Answer:
        posts = sandbox_of(request).posts
        container = _unpublished(posts, page, str(body.get("photo_id")))
        if container.status(posts.clock()) == "EXPIRED":
            raise graph_errors.unknown_object(container.id)
        return {"success": True, "post_id": _publish(posts, page, "story", "", [container]).media_id}

    return await perform(request, Step.PUBLISH, page, effect)


async def videos(request: Request) -> Response:
    """``POST /{version}/{page}/video_reels`` and ``…/video_stories``: start and finish."""
    page, edge = request.path_params["node"], request.path_params["edge"]
    body = await json_object(request)
    posts = sandbox_of(request).posts
    kind = "story" if edge == "video_stories" else "reel"

    async def start() -> Answer:
        video_id = ids.numeric_id()
        posts.containers[video_id] = Container(video_id, page, kind, "", [], posts.clock(), None)
        base = str(request.base_url).rstrip("/")
        return {
            "video_id": video_id,
            "upload_url": f"{base}/video-upload/{request.path_params['version']}/{video_id}",
        }

    async def finish() -> Answer:
        container = _unpublished(posts, page, str(body.get("video_id")))
        if container.status(posts.clock()) != "FINISHED":
            raise GraphError(400, 9007, "The video is not ready to be published", subcode=2207027)
        post = _publish(posts, page, kind, str(body.get("description") or ""), [container])
        return {"success": True, "post_id": post.media_id}

    match body.get("upload_phase"):
        case "start":
            return await perform(request, Step.CONTAINER, page, start)
        case "finish":
            return await perform(request, Step.PUBLISH, page, finish)
    raise graph_errors.bad_parameter("upload_phase must be start or finish")


async def upload(request: Request) -> Response:
    """``POST /video-upload/{version}/{video}``: a host of its own, which is told where a video is, and takes no proof."""
    posts = sandbox_of(request).posts
    bearer_of(request)
    container = posts.containers.get(request.path_params["video"])
    if container is None:
        raise graph_errors.unknown_object(request.path_params["video"])

    async def effect() -> Answer:
        url = request.headers.get("file_url")
        if not url:
            raise graph_errors.bad_parameter("file_url is required")
        container.files = [File(url, is_video=True)]
        posts.process(container)
        return {"success": True}

    return await perform_unsigned(request, Step.UPLOAD, container.account, effect)


async def read_feed(request: Request) -> Response:
    page = request.path_params["node"]

    async def effect() -> Answer:
        since = number(request, "since", 0)
        posts = sandbox_of(request).posts.newest(page, stories=False, limit=number(request, "limit", 25))
        return {
            "data": [
                {
                    "id": post.media_id,
                    "message": post.text,
                    "created_time": meta_time(post.at),
                    "permalink_url": post.permalink,
                    **_attachments(post),
                }
                for post in posts
                if post.at >= since
            ]
        }

    return await perform(request, Step.FIND, page, effect)


def _attachments(post: Post) -> Answer:
    targets: list[dict[str, Any]] = [{"target": {"id": each}} for each in post.container_ids]
    if not targets:
        return {}
    first = (
        targets[0]
        if len(targets) == 1
        else {"target": {"id": post.media_id}, "subattachments": {"data": targets}}
    )
    return {"attachments": {"data": [first]}}


def _own(posts: Posts, page: str, container_id: str) -> Container:
    container = posts.containers.get(container_id)
    if container is None or container.account != page:
        raise graph_errors.unknown_object(container_id)
    return container


def _unpublished(posts: Posts, page: str, container_id: str) -> Container:
    container = _own(posts, page, container_id)
    if container.post is not None:
        posts.repeated_publishes += 1
        raise GraphError(400, 100, "The video is published already", subcode=1363129)
    return container


def _attached(body: dict[str, Any]) -> list[str]:
    """The photos' ids. Raises GraphError."""
    attached = body.get("attached_media") or []
    if not isinstance(attached, list) or not all(isinstance(each, dict) for each in attached):
        raise graph_errors.bad_parameter("attached_media must be a list of objects with media_fbid")
    return [str(each.get("media_fbid")) for each in attached]


def _is_same(post: Post, message: str, link: str, photos: set[str]) -> bool:
    return (post.text, post.link, set(post.container_ids)) == (message, link, photos)


def _publish(
    posts: Posts, page: str, kind: str, text: str, containers: list[Container], link: str = ""
) -> Post:
    post_id = f"{page}_{ids.numeric_id()}"
    files = [file for container in containers for file in container.files]
    permalink = f"https://www.facebook.com/{page}/posts/{secrets.token_hex(8)}"
    return posts.go_live(
        Platform.MESSENGER,
        page,
        kind,
        text,
        files,
        media_id=post_id,
        permalink=permalink,
        containers=containers,
        link=link,
    )


def video_status(container: Container, now: float) -> Answer:
    """A video's phases."""
    status = container.status(now)
    phase = _PHASES[status]
    is_live = container.post is not None
    word = _WORDS[status] if container.files or status == "EXPIRED" else "upload_complete"
    errors = (
        {"errors": [{"message": container.reason or "The video could not be processed"}]}
        if phase == "error"
        else {}
    )
    return {
        "video_status": word,
        "uploading_phase": {"status": "complete" if container.files else "not_started"},
        "processing_phase": {"status": phase, **errors},
        "publishing_phase": {
            "status": "complete" if is_live else "not_started",
            **({"publish_status": "published"} if is_live else {}),
        },
    }


routes = [
    Route("/{version:graph}/{node}/photos", photos, methods=["POST"]),
    Route("/{version:graph}/{node}/feed", feed, methods=["POST"]),
    Route("/{version:graph}/{node}/feed", read_feed, methods=["GET"]),
    Route("/{version:graph}/{node}/photo_stories", photo_stories, methods=["POST"]),
    Route("/{version:graph}/{node}/{edge:video_edge}", videos, methods=["POST"]),
    Route("/video-upload/{version:graph}/{video}", upload, methods=["POST"]),
]
