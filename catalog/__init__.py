"""The catalog room: what products and events are, how they are read, checked, cleaned and frozen. Loads no torch."""
