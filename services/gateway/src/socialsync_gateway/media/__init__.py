"""Pictures and videos for posts: taken, looked at, kept, and shown to whoever holds a signed URL."""
