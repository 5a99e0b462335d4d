"""Domains, snapshots, models, indexes, evaluations, releases, aliases, gates and rules: one store each."""
