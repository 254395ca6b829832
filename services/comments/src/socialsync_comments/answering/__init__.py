"""What is said or done about a comment, each thing once."""
