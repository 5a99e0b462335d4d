"""What each user got in an evaluation, kept as its artifact: the evidence that two evaluations are compared by.

One row per slice and user who has a target there, one column per metric; a mean over a slice's rows is what the
report says, and rows of the same users in two evaluations can be paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InvalidDataError, NotFoundError

if TYPE_CHECKING:
    from ..registry.artifacts.local import ArtifactStore
    from ..registry.artifacts.manifests import StoredArtifact

ARTIFACT_KIND = "evaluation"
FILE = "users.parquet"
_SLICE = "slice"
_USER = "user_id"


class SliceValues(Protocol):
    """What is kept of a slice, as `evaluation.evaluate.SliceResult` has it."""

    @property
    def users(self) -> tuple[str, ...]:
        """(U,) user identifiers."""

    @property
    def metrics(self) -> Mapping[str, npt.NDArray[np.float64]]:
        """Name to (U,) values."""


@dataclass(frozen=True)
class UserValues:
    """One metric on one slice: (U,) users and (U,) what each of them got."""

    users: tuple[str, ...]
    values: npt.NDArray[np.float64]


def store_user_values(store: ArtifactStore, slices: Mapping[str, SliceValues]) -> StoredArtifact:
    """Write the values of every slice; equal values give the same artifact.

    Raises:
        HubspokeError: the store cannot be written.
    """
    # A slice may lack a metric that another has.
    table = pl.concat([_table(name, part) for name, part in slices.items()], how="diagonal")
    with store.stage() as staged:
        table.write_parquet(staged / FILE, compression="zstd")
        return store.commit(staged, ARTIFACT_KIND)


def read_user_values(store: ArtifactStore, digest: str, slice_name: str, metric: str) -> UserValues:
    """What each user of a slice got by one metric, in the order of the evaluation.

    Raises:
        NotFoundError: the store lacks the artifact, or it holds no such slice or metric.
        CorruptArtifactError: it no longer matches its checksum.
        InvalidDataError: it is no table of values.
    """
    path = store.open(digest) / FILE
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidDataError(f"{path} holds no values per user ({error}); evaluate again.") from error
    rows = table.filter(pl.col(_SLICE) == slice_name)
    if metric not in table.columns or rows.is_empty() or rows[metric].null_count():
        raise NotFoundError(f"{metric} on {slice_name} is not among the values of {digest[:12]}; evaluate it again.")
    return UserValues(tuple(rows[_USER].to_list()), rows[metric].to_numpy())


def _table(name: str, part: SliceValues) -> pl.DataFrame:
    return pl.DataFrame({_SLICE: [name] * len(part.users), _USER: list(part.users), **part.metrics})
