"""What recommendations earn: revenue and margin per impression, and how much of it reaches the long tail of sellers.

From a log of impressions these are measured. Without one they can only be simulated, on held-out purchases and with an
assumed examination of places; such numbers are named `simulated_...` and stand for no measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import BoolArray, DoubleArray, IntArray
from ..errors import InvalidDataError
from .catalogue import SIMULATED
from .examination import discounted
from .off_policy import Weighted, snips, weighted_share
from .ratios import Measured, by_shopper, ratio

TOP_SELLERS = 1000
REVENUE, MARGIN, TAIL_SHARE = "revenue_per_impression", "margin_per_impression", "tail_revenue_share"


@dataclass(frozen=True)
class Earnings:
    """What R rows earned: impressions with what was bought after them, or held-out purchases."""

    revenue: DoubleArray  # (R,) 0 where nothing was bought
    margin: DoubleArray | None = None  # (R,) revenue less cost; None where costs are not known
    tail: BoolArray | None = None  # (R,) whether the seller is none of the largest; None where sellers are not known


def top_sellers(sellers: Sequence[str], revenue: DoubleArray, top: int = TOP_SELLERS) -> frozenset[str]:
    """The sellers with the most revenue, best of all products and an earlier time; equal ones by their names."""
    names, codes = np.unique(np.array(sellers, dtype=np.str_), return_inverse=True)
    order = np.argsort(-np.bincount(codes, weights=revenue, minlength=len(names)), kind="stable")
    return frozenset(names[order[:top]].tolist())


def business_metrics(weighted: Weighted, earned: Earnings) -> dict[str, Measured]:
    """The metrics of a policy from weighted impressions; with weights of 1 those of the policy in service.

    Self-normalised. Without costs there is no margin, and without sellers or any revenue no share of it.
    """
    found = {REVENUE: snips(weighted, earned.revenue)}
    if earned.margin is not None:
        found[MARGIN] = snips(weighted, earned.margin)
    if earned.tail is not None and (weighted.weights * earned.revenue).sum() > 0:
        found[TAIL_SHARE] = weighted_share(weighted, earned.revenue * earned.tail, earned.revenue)
    return found


def simulated_metrics(shoppers: IntArray, ranks: DoubleArray, bought: Earnings, k: int) -> dict[str, Measured]:
    """A SIMULATION: what lists of k would have earned, had each shopper bought of them what he bought without them.

    `ranks` (R,) are those that the policy gives to the held-out purchases of `shoppers` (R,). A purchase within k
    counts by the assumed examination of its place, 1 / log2(1 + rank); a shopper stands for one list of k impressions.
    """
    if len(ranks) == 0:
        raise InvalidDataError("There are no held-out purchases to simulate on; ingest purchases with their revenue.")
    within = ranks <= k
    looked = np.zeros(len(ranks))
    looked[within] = discounted(k)[np.ceil(ranks[within]).astype(np.int64) - 1]  # tied ranks end in a half
    revenue = by_shopper(shoppers, looked * bought.revenue)
    places = np.full(len(revenue), float(k))
    found = {f"{SIMULATED}{REVENUE}@{k}": ratio(revenue, places)}
    if bought.margin is not None:
        found[f"{SIMULATED}{MARGIN}@{k}"] = ratio(by_shopper(shoppers, looked * bought.margin), places)
    if bought.tail is not None and revenue.sum() > 0:
        tail = by_shopper(shoppers, looked * bought.revenue * bought.tail)
        found[f"{SIMULATED}{TAIL_SHARE}@{k}"] = ratio(tail, revenue)
    return found
