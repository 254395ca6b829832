"""Flower: a look at the workers and their tasks."""
