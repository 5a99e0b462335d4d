"""The evaluation room: splits, metrics, confidence intervals and comparisons; no training code."""
