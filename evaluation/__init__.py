"""The evaluation room: splits, metrics, confidence intervals and reports. numpy only, no training code."""
