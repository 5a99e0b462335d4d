"""What came from what: upstream, downstream, impact, staleness, differences."""
