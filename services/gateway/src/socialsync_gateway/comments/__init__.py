"""Comments: what people decide about them, the posts that are watched, and what each account's policy is."""
