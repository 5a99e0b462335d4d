"""The metrics of RecTools and ranx on lists from a file, as JSON; runs in a venv of its own, without hubspoke.

Of the libraries that are not installed nothing is said.
"""

import json
import sys
from importlib.metadata import version

import numpy as np

LISTS = 10


def of_ranx(top, targets):
    """Values by metric; `top` (U, N) are items best first, `targets` (U, T) those that are right."""
    from ranx import Qrels, Run
    from ranx import evaluate as measured

    depth = top.shape[1]
    qrels = Qrels({f"u{u}": {f"i{item}": 1 for item in own} for u, own in enumerate(targets)})
    scored = {
        f"u{u}": {f"i{item}": float(depth - place) for place, item in enumerate(own)} for u, own in enumerate(top)
    }
    found = measured(qrels, Run(scored), ["hit_rate@10", "recall@10", "ndcg@10", "mrr"])
    return {"hr@10": found["hit_rate@10"], **{name: found[name] for name in ("recall@10", "ndcg@10", "mrr")}}


def of_rectools(top, targets):
    """The same of RecTools."""
    import pandas as pd
    from rectools import Columns
    from rectools.metrics import MRR, NDCG, HitRate, Recall, calc_metrics

    users, depth = np.arange(len(top)), top.shape[1]
    places = np.tile(np.arange(depth) + 1, len(top))
    shown = {Columns.User: np.repeat(users, depth), Columns.Item: top.ravel(), Columns.Rank: places}
    taken = {Columns.User: np.repeat(users, targets.shape[1]), Columns.Item: targets.ravel()}
    metrics = {
        "hr@10": HitRate(k=LISTS),
        "recall@10": Recall(k=LISTS),
        "ndcg@10": NDCG(k=LISTS, divide_by_achievable=True),
        "mrr": MRR(k=depth),
    }
    return calc_metrics(metrics, reco=pd.DataFrame(shown), interactions=pd.DataFrame(taken))


def main():
    """Measure by every library that is there."""
    given = np.load(sys.argv[1])
    values, versions = {}, {}
    for name, measured in (("rectools", of_rectools), ("ranx", of_ranx)):
        try:
            found = measured(given["top"], given["targets"])
        except ImportError:
            continue
        values[name] = {metric: float(value) for metric, value in found.items()}
        versions[name] = version(name)
    print(json.dumps({"values": values, "versions": versions}))


if __name__ == "__main__":
    main()
