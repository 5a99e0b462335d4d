"""Vector indexes, and the merchandising rules laid over what they find."""
