"""Meta's webhooks: signature, body, decisions, rows."""
