"""What experiments on shoppers are read by: the numbers of each shopper, and ratios to what was shown."""

from __future__ import annotations

from collections.abc import Mapping

REVENUE, TAIL_SHARE = "revenue", "tail_revenue_share"
# Of each exposed shopper within the window; any of them can decide.
PER_SHOPPER: Mapping[str, str] = {
    REVENUE: "what the shopper's purchases came to",
    "margin": "the same less the cost of what was bought",
    "purchases": "purchases",
    "buyers": "1 where anything was bought, so that the mean is the share of buyers",
    "clicks": "products of the experiment's lists that the shopper clicked or viewed there",
}
# Sums over sums of all shoppers: of what, over what; columns of `shopper_outcomes`.
RATIOS: Mapping[str, tuple[str, str]] = {
    "click_rate": ("clicks", "impressions"),
    "revenue_per_impression": ("listed_revenue", "impressions"),
    TAIL_SHARE: ("tail_revenue", "revenue"),
}
