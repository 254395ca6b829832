"""A local stand-in for Meta's Graph API, for its users, and for an OpenAI-compatible model server."""

from __future__ import annotations
