"""Every metric that a version is judged by: its definition, formula, unit, direction and threshold, in one place.

Cards, gates and docs/assessment.md read this list. A threshold is what a card holds a number to where no gate says
otherwise; None where nothing has been measured that would justify one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Dimension = Literal["intrinsic", "downstream", "operational", "business"]
Direction = Literal["higher", "lower"]
SIMULATED = "simulated_"  # begins the names of what stands for no measurement
DIMENSIONS: tuple[Dimension, ...] = ("intrinsic", "downstream", "operational", "business")


@dataclass(frozen=True)
class Definition:
    """What one metric is. A name that ends in `@k` stands for every list length."""

    name: str
    title: str
    formula: str
    unit: str
    better: Direction
    dimension: Dimension
    threshold: float | None = None
    least: float = 0.0  # no value is below
    most: float | None = 1.0  # nor above; None for open
    per_user: bool = False  # whether two versions can be compared on it user by user

    def meets(self, value: float, threshold: float | None = None) -> bool | None:
        """Whether a value meets a threshold, by default its own; None without one."""
        wanted = self.threshold if threshold is None else threshold
        if wanted is None:
            return None
        return value >= wanted if self.better == "higher" else value <= wanted


_INTRINSIC = (
    Definition(
        "isotropy",
        "isotropy",
        "s_min / s_max of the singular values of the centred vectors",
        "ratio",
        "higher",
        "intrinsic",
    ),
    Definition(
        "partition_isotropy",
        "partition isotropy",
        "min Z(c) / max Z(c) over the eigenvectors ±c of X'X, Z(c) = sum of exp(<c, x>), mean length one "
        "(Mu & Viswanath, 2018)",
        "ratio",
        "higher",
        "intrinsic",
        0.9,
    ),
    Definition(
        "mean_cosine",
        "mean cosine",
        "mean cos(x, y) over 10,000 random pairs of two items",
        "cosine",
        "lower",
        "intrinsic",
        0.1,
        least=-1.0,
    ),
    Definition(
        "same_category",
        "neighbours of the same category",
        "mean share of an item's 10 nearest (cosine) that are of its leaf category",
        "share",
        "higher",
        "intrinsic",
        0.6,
    ),
    Definition(
        "same_brand",
        "neighbours of the same brand",
        "mean share of an item's 10 nearest that are of its brand",
        "share",
        "higher",
        "intrinsic",
    ),
    Definition(
        "same_price_band",
        "neighbours of the same price band",
        "mean share of an item's 10 nearest that are of its fifth of the catalog by price",
        "share",
        "higher",
        "intrinsic",
    ),
    Definition(
        "hubness",
        "hubness",
        "skewness of N_10, the times that an item is among the 10 nearest of another (Radovanovic et al., 2010)",
        "skewness",
        "lower",
        "intrinsic",
        2.0,
        least=float("-inf"),
        most=None,
    ),
    Definition("anti_hubs", "anti-hubs", "share of items with N_10 = 0", "share", "lower", "intrinsic"),
    Definition(
        "effective_rank",
        "effective rank",
        "exp(H(p)), p_i = s_i / sum of s, s the singular values of the centred vectors (Roy & Vetterli, 2007)",
        "dimensions",
        "higher",
        "intrinsic",
        most=None,
    ),
)

_DOWNSTREAM = (
    Definition(
        "hr@k", "hit rate", "1 if any target ranks within k, else 0", "share", "higher", "downstream", per_user=True
    ),
    Definition("recall@k", "recall", "share of the targets within k", "share", "higher", "downstream", per_user=True),
    Definition(
        "ndcg@k",
        "NDCG",
        "sum of 1 / log2(1 + rank) over targets within k, over that of an ideal ranking of min(k, targets) hits",
        "gain",
        "higher",
        "downstream",
        per_user=True,
    ),
    Definition(
        "mrr", "mean reciprocal rank", "1 / best rank of a target", "1 / rank", "higher", "downstream", per_user=True
    ),
    Definition(
        "coverage@100",
        "coverage",
        "share of the slice's items that stand in anybody's top 100",
        "share",
        "higher",
        "downstream",
    ),
    Definition(
        "novelty@10",
        "novelty",
        "mean over the top 10 of -log2((c_i + 1) / (E + N)) (Zhou et al., 2010)",
        "bits",
        "higher",
        "downstream",
        most=None,
        per_user=True,
    ),
    Definition(
        "diversity@10",
        "diversity",
        "1 - mean cos(v_i, v_j) over the pairs of the top 10 (Ziegler et al., 2005)",
        "1 - cosine",
        "higher",
        "downstream",
        most=2.0,
        per_user=True,
    ),
    Definition(
        "serendipity@10",
        "serendipity",
        "share of the targets that are in the top 10 and not among the 10 items with the most training events "
        "(after Ge et al., 2010)",
        "share",
        "higher",
        "downstream",
        per_user=True,
    ),
    Definition(
        "calibration@10",
        "miscalibration to the shopper's categories",
        "KL(p || 0.99 q + 0.01 p), p the leaf categories of the history, q those of the top 10 (Steck, 2018)",
        "nats",
        "lower",
        "downstream",
        most=None,
        per_user=True,
    ),
    Definition(
        "gini@10",
        "Gini of exposure",
        "mean difference of two items' times in a top 10, over twice their mean",
        "share",
        "lower",
        "downstream",
    ),
    Definition(
        "cold_exposure@10",
        "exposure of cold items",
        "share of the places of the top 10 that cold items hold",
        "share",
        "higher",
        "downstream",
        per_user=True,
    ),
    Definition(
        "tail_exposure@10",
        "exposure of the tail",
        "share of the places of the top 10 that items of the slice `tail` hold",
        "share",
        "higher",
        "downstream",
        per_user=True,
    ),
)

_OPERATIONAL = (
    Definition(
        "drift",
        "drift",
        "mean over items of |x_i - y_i| / sqrt(D), in units of the earlier version's root mean square column",
        "vector lengths",
        "lower",
        "operational",
        0.1,
        most=None,
    ),
    Definition(
        "neighbours_kept@10",
        "neighbours kept",
        "mean share of an item's 10 nearest (cosine) that both versions have",
        "share",
        "higher",
        "operational",
    ),
    Definition(
        "lists_changed@10",
        "recommendations changed",
        "mean share of the 10 recommended items that the other version does not recommend to the same session",
        "share",
        "lower",
        "operational",
    ),
    Definition(
        "cold_start", "cold-start quality", "NDCG@10 of the targets that are cold", "gain", "higher", "operational"
    ),
    Definition(
        "index_recall@10",
        "recall of the index",
        "share of the 10 largest inner products that the index finds",
        "share",
        "higher",
        "operational",
        0.99,
    ),
    Definition(
        "index_build_seconds",
        "index build",
        "seconds that the index took when it was built, embedding and measuring with it",
        "s",
        "lower",
        "operational",
        most=None,
    ),
    Definition(
        "index_rebuild_seconds",
        "index rebuild",
        "seconds that its structure takes over the stored vectors now",
        "s",
        "lower",
        "operational",
        most=None,
    ),
    Definition(
        "index_megabytes",
        "index memory",
        "10^6 bytes of the index's structure",
        "MB",
        "lower",
        "operational",
        most=None,
    ),
    Definition(
        "index_rebuild_seconds_10m",
        "index rebuild at 10 M items",
        "index_rebuild_seconds x 10^7 / N: a projection, linear in the items",
        "s",
        "lower",
        "operational",
        most=None,
    ),
    Definition(
        "index_gigabytes_10m",
        "index memory at 10 M items",
        "bytes of the structure x 10^7 / N / 10^9: a projection, linear in the items",
        "GB",
        "lower",
        "operational",
        most=None,
    ),
    Definition(
        "latency_p50_ms",
        "latency, median",
        "median of the milliseconds from a session to its 10 items, one at a time, in this process",
        "ms",
        "lower",
        "operational",
        most=None,
    ),
    Definition(
        "latency_p95_ms", "latency, 95th percentile", "95th percentile of them", "ms", "lower", "operational", most=None
    ),
    Definition(
        "latency_p99_ms",
        "latency, 99th percentile",
        "99th percentile of them",
        "ms",
        "lower",
        "operational",
        20.0,
        most=None,
    ),
    Definition(
        "first_list_seconds",
        "time to the first recommendation",
        "seconds from the stored files of index and model to the first list",
        "s",
        "lower",
        "operational",
        most=None,
    ),
)

_BUSINESS = (
    Definition(
        "revenue_per_impression",
        "revenue per recommendation impression",
        "sum of w r / sum of w, r the revenue of an impression, w = target / logged its weight "
        "(Swaminathan & Joachims, 2015)",
        "money",
        "higher",
        "business",
        least=float("-inf"),
        most=None,
    ),
    Definition(
        "margin_per_impression",
        "margin per recommendation impression",
        "sum of w (r - c) / sum of w, c the cost of what was bought",
        "money",
        "higher",
        "business",
        least=float("-inf"),
        most=None,
    ),
    Definition(
        "tail_revenue_share",
        "long-tail monetisation",
        "sum of w r over sellers outside the 1,000 with the most revenue before, over that of all sellers",
        "share",
        "higher",
        "business",
    ),
    Definition(
        "simulated_revenue_per_impression@k",
        "revenue per impression, SIMULATED",
        "mean over shoppers of sum of r / log2(1 + rank) over k, of the held-out purchases within k",
        "money",
        "higher",
        "business",
        least=float("-inf"),
        most=None,
    ),
    Definition(
        "simulated_margin_per_impression@k",
        "margin per impression, SIMULATED",
        "the same of r - c",
        "money",
        "higher",
        "business",
        least=float("-inf"),
        most=None,
    ),
    Definition(
        "simulated_tail_revenue_share@k",
        "long-tail monetisation, SIMULATED",
        "the share of that revenue from products outside the 1,000 with the most revenue before",
        "share",
        "higher",
        "business",
    ),
)

CATALOGUE: Mapping[str, Definition] = {
    definition.name: definition for definition in (*_INTRINSIC, *_DOWNSTREAM, *_OPERATIONAL, *_BUSINESS)
}
# How far a version has gone from another one: measured of two, so apart from what is measured of one.
DRIFT = ("drift", "neighbours_kept@10", "lists_changed@10")


def find(name: str) -> Definition | None:
    """The definition behind a name such as `hubness` or `ndcg@20`; None where there is none."""
    stem, at, k = name.partition("@")
    if name in CATALOGUE and k != "k":
        return CATALOGUE[name]
    numbered = k.isascii() and k.isdigit() and not k.startswith("0") and len(k) <= 5
    return CATALOGUE.get(f"{stem}@k") if at and numbered else None


def bound(better: str, threshold: float) -> str:
    """What a threshold asks for, such as `>= 0.6`."""
    return f"{'>=' if better == 'higher' else '<='} {threshold:g}"


def markdown(dimension: Dimension) -> str:
    """The table of a dimension in docs/assessment.md."""
    lines = ["| metric | what | formula | unit | better | threshold |", "|---|---|---|---|---|---|"]
    for own in CATALOGUE.values():
        if own.dimension == dimension:
            threshold = "-" if own.threshold is None else bound(own.better, own.threshold)
            formula = own.formula.replace("|", "\\|")
            lines.append(f"| `{own.name}` | {own.title} | {formula} | {own.unit} | {own.better} | {threshold} |")
    return "\n".join(lines)
