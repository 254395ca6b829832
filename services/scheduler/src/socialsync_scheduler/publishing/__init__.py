"""Scheduled posts: each target is published once, by whichever worker holds its lease."""
