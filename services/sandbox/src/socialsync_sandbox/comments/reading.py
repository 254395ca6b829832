"""What is asked about posts and their comments."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.comments.calls import call, comment_of, refuse_if_deleted, thread_of
from socialsync_sandbox.comments.rows import Fields, Reader, Row, bounded, id_at, refuse_whims
from socialsync_sandbox.comments.shows import details
from socialsync_sandbox.comments.state import Comment, Thread
from socialsync_sandbox.fields import find, names, parse
from socialsync_sandbox.publishing import nodes
from socialsync_sandbox.publishing.calls import Answer, number
from socialsync_sandbox.publishing.faults import Step
from socialsync_sandbox.publishing.state import Post
from socialsync_sandbox.sandbox import sandbox_of

_LINKS = frozenset({"id", "permalink", "permalink_url"})


async def node(request: Request) -> Response:
    """``GET /{version}/{id}``: a comment, or a post of which more than its address is asked; else what posting made."""
    comments, node_id = sandbox_of(request).comments, request.path_params["node"]
    comment = comments.get(node_id)
    if comment is not None:
        return await _comment(request, comment)
    thread = comments.thread_of(node_id)
    if thread is None or (node_id not in comments.organic and names(_fields(request)) <= _LINKS):
        return await nodes.node(request)
    return await _post(request, thread)


async def _comment(request: Request, comment: Comment) -> Response:
    async def effect() -> Answer:
        refuse_if_deleted(comment)
        fields = _comment_fields(request, comment.thread)
        return _reader(request, comment.thread.post).row(comment, fields)

    return await call(request, Step.COMMENT_STATE, comment.thread.post, effect)


async def _post(request: Request, thread: Thread) -> Response:
    """What it shows, or the first page of its comments."""
    wanted = find(_fields(request), "comments")

    async def effect() -> Answer:
        row = details(thread.post, len(thread.all), str(request.base_url))
        if wanted is not None and thread.post.platform is Platform.INSTAGRAM:
            refuse_whims(wanted.fields)
            found = thread.top.newest(bounded(wanted.limit))
            if found[0]:
                reader = _reader(request, thread.post)
                row["comments"] = reader.edge(f"{thread.post.media_id}/comments", found, wanted.fields)
        return row

    return await call(request, Step.DETAILS if wanted is None else Step.COMMENTS, thread.post, effect)


async def comments(request: Request) -> Response:
    """``GET /{version}/{node}/comments``: of a post, or of a Page's comment.

    Who publishes looks for the own comment here, without a limit, and with fields that readers stumble over.
    """
    comment = sandbox_of(request).comments.get(request.path_params["node"])
    if comment is not None and comment.thread.post.platform is Platform.MESSENGER:
        return await _replies(request, comment)
    thread = thread_of(request)
    is_look = "limit" not in request.query_params

    async def effect() -> Answer:
        fields = _fields(request) if is_look else _comment_fields(request, thread)
        is_stream = request.query_params.get("filter") == "stream"
        timeline = thread.all if is_stream and thread.post.platform is Platform.MESSENGER else thread.top
        found = timeline.newest(_limit(request), _cursor(request))
        edge = _reader(request, thread.post).edge(f"{thread.post.media_id}/comments", found, fields)
        return edge | _summary(request, len(timeline))

    return await call(request, Step.FIND if is_look else Step.COMMENTS, thread.post, effect)


async def replies(request: Request) -> Response:
    """``GET /{version}/{comment}/replies``: Instagram's."""
    return await _replies(request, comment_of(request))


async def _replies(request: Request, comment: Comment) -> Response:
    """Instagram shows the oldest first, a Page the newest."""
    is_instagram = comment.thread.post.platform is Platform.INSTAGRAM

    async def effect() -> Answer:
        refuse_if_deleted(comment)
        fields = _comment_fields(request, comment.thread)
        read = comment.replies.oldest if is_instagram else comment.replies.newest
        edge_name = "replies" if is_instagram else "comments"
        found = read(_limit(request), _cursor(request))
        return _reader(request, comment.thread.post).edge(f"{comment.id}/{edge_name}", found, fields)

    return await call(request, Step.COMMENTS, comment.thread.post, effect)


def _reader(request: Request, post: Post) -> Reader:
    return Reader(post.platform, f"{request.base_url}{request.path_params['version']}")


def _fields(request: Request) -> Fields:
    return parse(request.query_params.get("fields", ""))


def _comment_fields(request: Request, thread: Thread) -> Fields:
    """Those of each comment. Raises GraphError."""
    fields = _fields(request)
    if thread.post.platform is Platform.INSTAGRAM:
        refuse_whims(fields)
    return fields


def _limit(request: Request) -> int:
    return bounded(number(request, "limit", 50))


def _cursor(request: Request) -> Comment | None:
    """The comment that the page before ended with. Raises GraphError."""
    after = request.query_params.get("after")
    if not after:
        return None
    comment = sandbox_of(request).comments.by_id.get(id_at(after))
    if comment is None:
        raise graph_errors.bad_parameter("Invalid cursor")
    return comment


def _summary(request: Request, count: int) -> Row:
    asked = request.query_params.get("summary") in ("total_count", "true", "1")
    return {"summary": {"total_count": count}} if asked else {}
