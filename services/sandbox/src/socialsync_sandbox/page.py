"""What people look at: one plain page, which renews itself, with the conversation log beside the live posts."""

from __future__ import annotations

import html
import time
from itertools import islice

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from socialsync_sandbox.comments.state import By, Comment, Thread
from socialsync_sandbox.publishing.state import Post
from socialsync_sandbox.sandbox import sandbox_of
from socialsync_sandbox.state import Line

Shown = tuple[Post, Thread | None]

_POSTS_SHOWN = 30
_THREADS_SHOWN = 5
_REPLIES_SHOWN = 10
_EMPTY = "<p>Nobody has written yet. <code>POST /sandbox/users/say</code> makes a contact write.</p>"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: 0 3rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884 }
td:last-child, .text { white-space: pre-wrap; overflow-wrap: anywhere }
.app td:last-child { font-weight: 600 }
article { display: grid; grid-template-columns: 7rem 1fr; gap: 1rem; padding: .8rem 0; border-bottom: 1px solid #8884 }
article img { width: 100% }
article p, h2 { margin: 0 }
article blockquote { margin: 0 0 0 1rem }
article .app { font-weight: 600 }
.comment, .kind { opacity: .75 }
button { font: inherit; padding: .4rem 1.2rem; margin: 1rem .6rem 0 0 }
:root { color-scheme: light dark }
"""


def document(title: str, body: str, *, renews: bool = False) -> str:
    """A whole page; ``body`` is HTML."""
    refresh = '<meta http-equiv="refresh" content="2">' if renews else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{refresh}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>"
    )


def render(lines: list[Line], posts: list[Shown]) -> str:
    """Newest first; times are the machine's own."""
    said = f"<section><h2>Conversations</h2>{_conversations(lines)}</section>"
    articles = "".join(_post(post, thread) for post, thread in posts)
    live = f"<section><h2>Posts</h2>{articles}</section>" if posts else ""
    return document("SocialSync sandbox", f"<main>{said}{live}</main>", renews=True)


def _conversations(lines: list[Line]) -> str:
    if not lines:
        return _EMPTY
    rows = "".join(_row(line) for line in reversed(lines))
    titles = "".join(f"<th>{title}</th>" for title in ("Time", "Platform", "Contact", "Who", "Said"))
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"


def _row(line: Line) -> str:
    cells = (_clock(line.at), line.platform, line.contact, line.who, line.text)
    return f'<tr class="{line.who}">' + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _post(post: Post, thread: Thread | None) -> str:
    has_preview = any(file.preview for file in post.files)
    source = html.escape(f"/sandbox/posts/{post.media_id}/preview")
    picture = f'<img src="{source}" alt="" loading="lazy">' if has_preview else ""
    about = html.escape(f"{_clock(post.at)} {post.platform} {post.account}, {post.kind}")
    link = html.escape(post.permalink)
    said = _comments(thread) if thread else ""
    return (
        f'<article><div>{picture}</div><div><p class="kind">{about}</p>'
        f'<p class="text">{html.escape(post.text)}</p><p><a href="{link}">{link}</a></p>{said}</div></article>'
    )


def _comments(thread: Thread) -> str:
    """The app's first comment, then the newest threads that others began."""
    first = "".join(_comment(comment) for comment in thread.own.oldest(1)[0])
    newest, goes_on = thread.top.newest(_THREADS_SHOWN)
    threads = "".join(map(_thread, (comment for comment in newest if comment.by is not By.APP)))
    more = f'<p class="kind">{len(thread.all)} comments in all</p>' if goes_on else ""
    return first + threads + more


def _thread(top: Comment) -> str:
    replies = "".join(map(_comment, top.replies.newest(_REPLIES_SHOWN)[0][::-1]))
    return _comment(top) + (f"<blockquote>{replies}</blockquote>" if replies else "")


def _comment(comment: Comment) -> str:
    mark = " [hidden]" if comment.is_hidden else ""
    said = html.escape(f"{comment.author.name}: {comment.text}{mark}")
    return f'<p class="text comment {comment.by}">{said}</p>'


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


async def page(request: Request) -> Response:
    sandbox = sandbox_of(request)
    published = sandbox.posts.posts[-_POSTS_SHOWN:]
    organic = islice(reversed(sandbox.comments.organic.values()), _POSTS_SHOWN)
    newest = sorted((*published, *organic), key=lambda post: post.at, reverse=True)[:_POSTS_SHOWN]
    threads = sandbox.comments.threads
    shown = [(post, threads.get(post.media_id)) for post in newest]
    return HTMLResponse(render(list(sandbox.state.lines), shown))


routes = [Route("/", page)]
