"""Text and image encoders and their packaged weights."""
