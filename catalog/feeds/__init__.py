"""Formats in which shops, analytics tools and research sets export: one file each, listed in `formats`."""
