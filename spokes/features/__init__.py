"""Attributes and behaviour statistics of items."""
