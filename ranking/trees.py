"""Gradient-boosted trees learn to rank: the one file that knows XGBoost, which nothing but training needs.

Chen and Guestrin, 2016; the objective is LambdaMART (Burges, 2010) on NDCG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import MissingExtraError
from .config import RerankConfig
from .features import FEATURES, NAMES, SPOKE_SAYS
from .forest import Forest

# What trees are compared by on validation.
CHOSEN_BY = "ndcg@10"


@dataclass(frozen=True, eq=False)
class Examples:
    """Candidates of R requests, one request after the other."""

    features: FloatArray  # (n, F)
    taken: IntArray  # (n,) 1 for a candidate that the shopper took, else 0
    spoke: FloatArray  # (n,) standardised scores of the spoke, which trees begin with
    sizes: IntArray  # (R,) candidates of each request

    def sampled(self, negatives: int, seed: int) -> Examples:
        """The same with at most so many candidates of each request that were not taken.

        All of those are drawn alike: where hard ones came up more often, trees would learn to distrust the spoke.
        """
        rng, group = np.random.default_rng(seed), np.repeat(np.arange(len(self.sizes)), self.sizes)
        drawn = np.where(self.taken > 0, -1.0, rng.random(len(group)))
        order = np.lexsort((drawn, group))
        place = np.arange(len(group)) - np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        taken = np.bincount(group, self.taken, len(self.sizes)).astype(np.int64)
        kept = np.sort(order[place < (taken + negatives)[group]])
        sizes = np.bincount(group[kept], minlength=len(self.sizes)).astype(np.int64)
        return Examples(self.features[kept], self.taken[kept], self.spoke[kept], sizes)

    def only(self, requests: IntArray) -> Examples:
        """Some of the requests, in order."""
        kept = np.isin(np.repeat(np.arange(len(self.sizes)), self.sizes), requests)
        return Examples(self.features[kept], self.taken[kept], self.spoke[kept], self.sizes[requests])

    @classmethod
    def none(cls) -> Examples:
        """No request."""
        nothing = np.zeros(0, np.int64)
        return cls(np.zeros((0, len(FEATURES)), np.float32), nothing, np.zeros(0, np.float32), nothing)

    @classmethod
    def together(cls, parts: Sequence[Examples]) -> Examples:
        """One after the other."""
        names = ("features", "taken", "spoke", "sizes")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Growth:
    """How trees begin with what the spoke says."""

    margin: float  # of its standardised score, which they add to
    bound: bool  # whether they may never take it back


def fit(
    config: RerankConfig,
    examples: Examples,
    growth: Growth,
    validation: Examples | None = None,
    trees: int | None = None,
) -> tuple[Forest, float]:
    """Exactly so many trees, or as many as validation likes best; and the NDCG@10 there, 0 without validation.

    The same examples give the same trees, whatever the number of threads.
    """
    xgboost = xgboost_library()
    asked: dict[str, Any] = {"num_boost_round": config.trees if trees is None else trees, "verbose_eval": False}
    checked = None if validation is None else _matrix(validation, growth.margin)
    if checked is not None and trees is None:
        stop = xgboost.callback.EarlyStopping(rounds=config.patience, save_best=True)
        asked |= {"evals": [(checked, "validation")], "callbacks": [stop]}
    grown = xgboost.train(_parameters(config, growth.bound), _matrix(examples, growth.margin), **asked)
    grown.set_attr(margin=repr(growth.margin))
    reached = 0.0 if checked is None else float(grown.eval(checked).rpartition(":")[2])
    return Forest.parse(bytes(grown.save_raw("json"))), reached


def choose(config: RerankConfig, learned: Examples, checked: Examples) -> tuple[Growth, int, dict[str, float]]:
    """The growth and the number of trees that validation likes best, and its NDCG@10 with none and with these.

    No tree at all is the spoke's own order, and a candidate like any other.
    """
    learned = learned.sampled(config.negatives, config.seed)
    tried = [Growth(margin, bound) for bound in config.bound for margin in config.margins]
    best, trees = tried[0], 0
    before = after = fit(config, learned, best, checked, trees=0)[1]
    for growth in tried if config.trees else ():
        grown, reached = fit(config, learned, growth, checked)
        if reached > after:
            best, trees, after = growth, len(grown), reached
    return best, trees, {"spoke": round(before, 5), "re-ranked": round(after, 5)}


def xgboost_library() -> Any:
    """XGBoost; MissingExtraError where it is not installed."""
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtraError(
            "A re-ranker is trained with XGBoost, which is not installed; install hubspoke[rerank] beside your extras."
        ) from error
    return xgboost


def _parameters(config: RerankConfig, bound: bool) -> dict[str, Any]:
    says = SPOKE_SAYS if bound else {}
    constraints = [says.get(own.name, own.monotone) if config.monotone else 0 for own in FEATURES]
    return {
        "objective": "rank:ndcg",
        "eval_metric": CHOSEN_BY,
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": 20,
        "tree_method": "hist",
        "max_depth": config.depth,
        "eta": config.learning_rate,
        "min_child_weight": config.min_child_weight,
        "lambda": config.l2,
        "colsample_bytree": config.column_share,
        "monotone_constraints": tuple(constraints),
        "seed": config.seed,
        "nthread": 1,
        "verbosity": 0,
    }


def _matrix(examples: Examples, margin: float) -> Any:
    made = xgboost_library().DMatrix(
        examples.features,
        label=examples.taken,
        base_margin=np.float32(margin) * examples.spoke,
        feature_names=list(NAMES),
        missing=float("nan"),
        nthread=1,
    )
    made.set_group(examples.sizes)
    return made
