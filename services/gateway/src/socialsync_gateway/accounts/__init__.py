"""Connecting accounts: checked with Meta, saved together, subscribed afterwards."""
