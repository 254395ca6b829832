"""What every call about comments goes through: the account's allowance, and what publishing calls go through."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.comments.state import Comment, Thread
from socialsync_sandbox.graph import bearer_of
from socialsync_sandbox.graph_errors import GraphError
from socialsync_sandbox.publishing.calls import Effect, perform
from socialsync_sandbox.publishing.faults import Step
from socialsync_sandbox.publishing.state import Post
from socialsync_sandbox.responses import Json
from socialsync_sandbox.sandbox import sandbox_of

_THROTTLED = frozenset({4, 80001, 80002})


async def call(request: Request, step: Step, post: Post, effect: Effect) -> Response:
    """One call about what belongs to a post. All answers, also errors, tell how much of the allowance is used."""
    bearer_of(request)
    comments, account = sandbox_of(request).comments, post.account
    usage = comments.usages.spend(account, comments.clock())
    answer: Response
    try:
        if usage.percent > 100:
            raise graph_errors.used_up(instagram=post.platform is Platform.INSTAGRAM)
        comments.tally.calls[step] += 1
        answer = await perform(request, step, account, effect, post.platform)
    except GraphError as error:
        comments.tally.throttled += error.code in _THROTTLED
        answer = Json(error.body, error.status)
    answer.headers.update(usage.headers(post.platform, account))
    return answer


def thread_of(request: Request) -> Thread:
    """Of the post in the path. Raises GraphError."""
    post_id = request.path_params["node"]
    thread = sandbox_of(request).comments.thread_of(post_id)
    if thread is None:
        bearer_of(request)
        raise graph_errors.unknown_object(post_id)
    return thread


def comment_of(request: Request) -> Comment:
    """The one in the path. Raises GraphError."""
    comment_id = request.path_params["node"]
    comment = sandbox_of(request).comments.get(comment_id)
    if comment is None:
        bearer_of(request)
        raise graph_errors.unknown_object(comment_id)
    return comment


def refuse_if_deleted(comment: Comment) -> None:
    """It may go while the call is held. Raises GraphError."""
    if comment.is_deleted:
        raise graph_errors.unknown_object(comment.id)
