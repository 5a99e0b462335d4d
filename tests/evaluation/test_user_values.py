"""What each user got, written and read again."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import InvalidDataError, NotFoundError
from hubspoke.evaluation.evaluate import SliceResult
from hubspoke.evaluation.user_values import FILE, read_user_values, write_user_values


def test_a_name_with_signs_of_a_pattern_is_that_file(tmp_path: Path) -> None:
    for name, value in {"users[1].parquet": 0.5, "users1.parquet": 1.0}.items():
        pl.DataFrame({"slice": ["all"], "user_id": ["ann"], "mrr": [value]}).write_parquet(tmp_path / name)
    assert read_user_values(tmp_path / "users[1].parquet", "all", "mrr").values.tolist() == [0.5]


def test_values_come_back_by_slice_and_metric(tmp_path: Path) -> None:
    whole = SliceResult(("ann", "bob"), {"mrr": np.array([0.5, 1.0]), "novelty@10": np.array([3.0, 4.0])}, 2, 1.0)
    cold = SliceResult(("bob",), {"mrr": np.array([0.25])}, 1, 0.5)
    write_user_values(tmp_path / FILE, {"all": whole, "cold": cold})
    read = read_user_values(tmp_path / FILE, "all", "novelty@10")
    assert (read.users, read.values.tolist()) == (("ann", "bob"), [3.0, 4.0])
    assert read_user_values(tmp_path / FILE, "cold", "mrr").values.tolist() == [0.25]
    # A metric that was not measured, a slice that nobody has a target in, a metric that only another slice has.
    for slice_name, metric in (("all", "ndcg@7"), ("nowhere", "mrr"), ("cold", "novelty@10")):
        with pytest.raises(NotFoundError, match=f"{metric} on {slice_name} is not among the values"):
            read_user_values(tmp_path / FILE, slice_name, metric)
    (tmp_path / FILE).write_text("no table")
    with pytest.raises(InvalidDataError, match="holds no values per user"):
        read_user_values(tmp_path / FILE, "all", "mrr")
