"""The spokes room: per-category recommenders on top of the hub, their training, index and baselines."""
