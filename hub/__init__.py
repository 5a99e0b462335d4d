"""The hub room: text and image encoders, the base fusion, calibration and the content-embedding cache."""
