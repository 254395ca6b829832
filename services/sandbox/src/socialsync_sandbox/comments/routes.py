"""All routes of comments. They stand before those that know messages and posts alone, and hand on what is not theirs."""

from __future__ import annotations

from starlette.routing import Route

from socialsync_sandbox.comments import control, flood, reading, writing

sends = [Route("/{version:graph}/{node}/messages", writing.messages, methods=["POST"])]
routes = [
    Route("/{version:graph}/{node}/comments", writing.comments, methods=["POST"]),
    Route("/{version:graph}/{node}/comments", reading.comments, methods=["GET"]),
    Route("/{version:graph}/{node}/replies", writing.replies, methods=["POST"]),
    Route("/{version:graph}/{node}/replies", reading.replies, methods=["GET"]),
    Route("/{version:graph}/{node}/likes", writing.like, methods=["POST"]),
    Route("/{version:graph}/{node}", writing.change, methods=["POST"]),
    Route("/{version:graph}/{node}", reading.node, methods=["GET"]),
    *control.routes,
    *flood.routes,
]
