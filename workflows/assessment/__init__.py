"""What a version is like by itself: its space, its index, how it answers, and how far it has gone from another."""
