"""Folds of users, for statistics that a training step reads: counted over the users that it does not train on.

An item's statistics hold the very event that a step asks for, so that they tell what was taken at least once; counted
over the other folds they do not, for a target and a negative alike (cross-fitting, as in target encoding).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from ...arrays import IntArray


def user_folds(user_ids: Sequence[str], folds: int) -> IntArray:
    """(U,) fold of each user, from 0; told by the name alone, so that tables and shards agree on it."""
    return np.fromiter((zlib.crc32(user.encode()) % folds for user in user_ids), np.int64, len(user_ids))
