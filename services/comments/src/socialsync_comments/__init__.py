"""Comments: watched, and answered like a person would."""
