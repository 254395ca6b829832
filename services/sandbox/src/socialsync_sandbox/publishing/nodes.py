"""What is asked about containers, videos and posts, on either platform."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph
from socialsync_sandbox.publishing.calls import Answer, number, perform
from socialsync_sandbox.publishing.faults import Step
from socialsync_sandbox.publishing.page import video_status
from socialsync_sandbox.publishing.state import Post, meta_time
from socialsync_sandbox.sandbox import sandbox_of

_WORDS = {
    "IN_PROGRESS": "In Progress: Media is still being processed.",
    "FINISHED": "Finished: Media has been uploaded and it is ready to be published.",
    "PUBLISHED": "Published: Media has been successfully published.",
    "EXPIRED": "Expired: The container was not published within 24 hours.",
}


async def media(request: Request) -> Response:
    """``GET /{version}/{account}/media``, newest first."""
    return await _list(request, stories=False)


async def stories(request: Request) -> Response:
    return await _list(request, stories=True)


async def _list(request: Request, *, stories: bool) -> Response:
    account = request.path_params["node"]

    async def effect() -> Answer:
        sandbox = sandbox_of(request)
        posts = sandbox.posts.newest(account, stories=stories, limit=number(request, "limit", 25))
        if sandbox.state.platform_of(account) is Platform.MESSENGER:
            return {"data": [_page_story(post) for post in posts]}
        return {"data": [_shown(post) for post in posts], "paging": {}}

    return await perform(request, Step.FIND, account, effect)


def _page_story(post: Post) -> Answer:
    media_id = post.container_ids[-1] if post.container_ids else post.media_id
    return {
        "post_id": post.media_id,
        "media_id": media_id,
        "creation_time": str(int(post.at)),
        "status": "PUBLISHED",
    }


def _shown(post: Post) -> Answer:
    return {
        "id": post.media_id,
        "caption": post.text,
        "timestamp": meta_time(post.at),
        "permalink": post.permalink,
        "media_type": {"carousel": "CAROUSEL_ALBUM", "image": "IMAGE"}.get(post.kind, "VIDEO"),
    }


async def node(request: Request) -> Response:
    """``GET /{version}/{id}``: a container, a video, a post, a WhatsApp number, or a medium of a message."""
    node_id = request.path_params["node"]
    posts = sandbox_of(request).posts
    container = posts.containers.get(node_id)
    if container is not None:

        async def status() -> Answer:
            if sandbox_of(request).state.platform_of(container.account) is Platform.MESSENGER:
                return {"id": node_id, "status": video_status(container, posts.clock())}
            code = container.status(posts.clock())
            words = _WORDS.get(
                code, f"Error: {container.reason or 'Media upload has failed with error code 2207026'}"
            )
            return {"status_code": code, "status": words, "id": node_id}

        return await perform(request, Step.STATUS, container.account, status)
    post = posts.by_id.get(node_id)
    if post is None:
        if sandbox_of(request).state.platform_of(node_id) is Platform.WHATSAPP:
            return await _phone_number(request, node_id)
        return await graph.node(request)

    async def show() -> Answer:
        return {**_shown(post), "permalink_url": post.permalink}

    return await perform(request, Step.PERMALINK, post.account, show)


async def _phone_number(request: Request, number_id: str) -> Response:
    async def effect() -> Answer:
        return {
            "id": number_id,
            "display_phone_number": f"+1 555-{number_id[-7:]}",
            "verified_name": sandbox_of(request).accounts.name_of(Platform.WHATSAPP, number_id),
            "quality_rating": "GREEN",
        }

    return await perform(request, Step.NUMBER, number_id, effect)


routes = [
    Route("/{version:graph}/{node}/media", media, methods=["GET"]),
    Route("/{version:graph}/{node}/stories", stories, methods=["GET"]),
]
