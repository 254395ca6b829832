"""The SocialSyncQueue operator: deploys and scales workers on what waits in Redis."""
