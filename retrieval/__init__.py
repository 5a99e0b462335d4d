"""Index kinds over item vectors, and the merchandising rules applied to what they find."""
