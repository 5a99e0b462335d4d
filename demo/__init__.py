"""The demo: a real grocer's year, and a simulated marketplace with pictures."""
