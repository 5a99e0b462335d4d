"""The ranking room: what is known of a candidate, and the trees that put candidates in order; the door to XGBoost."""
