"""Logins at Instagram and Facebook that connect accounts."""

from __future__ import annotations

from socialsync_gateway.oauth.endpoints import oauth_router

__all__ = ["oauth_router"]
