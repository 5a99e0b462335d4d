"""What experiments on shoppers are read by: the numbers of each shopper, and ratios to what was shown."""

from __future__ import annotations

from collections.abc import Mapping

REVENUE = "revenue"
# Of each exposed shopper within the window; any of them can decide.
PER_SHOPPER: Mapping[str, str] = {
    "revenue": "what the shopper's purchases came to",
    "margin": "the same less the cost of what was bought",
    "purchases": "purchases",
    "buyers": "1 where anything was bought, so that the mean is the share of buyers",
    "clicks": "products of the experiment's lists that the shopper clicked or viewed there",
}
# Sums of all shoppers over the products that were shown to them.
PER_IMPRESSION: Mapping[str, str] = {
    "click_rate": "clicks",
    "revenue_per_impression": "revenue of purchases that name the list which the product stood in",
}
