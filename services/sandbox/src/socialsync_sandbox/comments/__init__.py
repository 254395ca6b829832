"""Comments on Instagram media and Page posts, as people write them and as the Graph API takes and shows them."""
