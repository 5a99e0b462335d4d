"""Domains, snapshots, models, indexes, evaluations, releases, aliases, gates, experiments and rules: one store each."""
