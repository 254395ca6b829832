"""The conversation log, for people: one plain page that renews itself."""

from __future__ import annotations

import html
import time

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from socialsync_sandbox.sandbox import sandbox_of
from socialsync_sandbox.state import Line

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>SocialSync sandbox</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884 }
td:last-child { white-space: pre-wrap; overflow-wrap: anywhere }
.app td:last-child { font-weight: 600 }
:root { color-scheme: light dark }
</style></head><body><h1>SocialSync sandbox</h1>
"""
_EMPTY = "<p>Nobody has written yet. <code>POST /sandbox/users/say</code> makes a contact write.</p>"


def render(lines: list[Line]) -> str:
    """Newest first; times are the machine's own."""
    if not lines:
        return f"{_HEAD}{_EMPTY}</body></html>"
    rows = "".join(_row(line) for line in reversed(lines))
    titles = "".join(f"<th>{title}</th>" for title in ("Time", "Platform", "Contact", "Who", "Said"))
    return f"{_HEAD}<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></body></html>"


def _row(line: Line) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(line.at))
    cells = (clock, line.platform, line.contact, line.who, line.text)
    return f'<tr class="{line.who}">' + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


async def page(request: Request) -> Response:
    return HTMLResponse(render(list(sandbox_of(request).state.lines)))


routes = [Route("/", page)]
