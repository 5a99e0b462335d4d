"""Registries that travel: backups, and bundles of one release."""
