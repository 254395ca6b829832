"""Care for connected accounts: their tokens, their keys, their webhook subscriptions."""
