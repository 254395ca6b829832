"""Contracts, settings, database, batching, AI and platform clients that every SocialSync service shares."""

from __future__ import annotations
