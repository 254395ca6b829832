"""The page that a browser shows at the end of a login. It loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from fastapi.responses import HTMLResponse

from socialsync_gateway.accounts.connector import Connected

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;background:#f5f6f8;margin:0}
main{max-width:40rem;margin:12vh auto;padding:2rem;background:#fff;border-radius:12px;box-shadow:0 1px 4px #0002}
h1{font-size:1.4rem;margin:0 0 1rem}
li{margin:.5rem 0}
small{color:#5b6675;display:block}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the code and the state
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
}


def connected_page(accounts: Sequence[Connected]) -> HTMLResponse:
    """What was connected, and what is still to come."""
    items = "".join(f"<li>{_item(account)}</li>" for account in accounts)
    return _page("Connected", f"<ul>{items}</ul><p>You can close this window.</p>", 200)


def problem_page(status: int, detail: str) -> HTMLResponse:
    """Why nothing was connected."""
    return _page("Not connected", f"<p>{escape(detail)}</p>", status)


def _item(account: Connected) -> str:
    row = account.row
    shown = f"<strong>{escape(row['name'])}</strong> ({escape(row['platform'])} {escape(row['external_id'])})"
    if account.fault is None:
        return shown
    return (
        f"{shown}<small>It does not receive messages yet: {escape(account.fault)}. "
        "This is tried again within the hour.</small>"
    )


def _page(title: str, content: str, status: int) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · SocialSync</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>",
        status,
        _PAGE_HEADERS,
    )
