"""Scheduled posts: write, change and cancel them, see them in a calendar, and settle what nobody knows."""
