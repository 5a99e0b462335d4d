"""Sums over sums by shopper, with the error that shoppers' own differences leave: revenue per impression, a share.

The shopper is what is independent: the rows of one stand or fall together, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, log, sqrt
from statistics import NormalDist

import numpy as np

from ..arrays import DoubleArray, IntArray
from ..errors import InvalidDataError, UsageError
from .bootstrap import LEVEL, Estimate


@dataclass(frozen=True)
class Measured:
    """A number, its standard error, and the shoppers that it rests on."""

    value: float
    error: float
    n: int

    def estimate(self, level: float = LEVEL) -> Estimate:
        """With its interval for one look, which was planned beforehand."""
        return self._within(NormalDist().inv_cdf((1 + level) / 2))

    def at_any_look(self, planned: int, level: float = LEVEL) -> Estimate:
        """With its interval of a sequence that holds at all looks together, tightest near `planned` shoppers.

        The asymptotic confidence sequence of Waudby-Smith et al. (2021, arXiv:2103.06476, theorem 2.2). Decide on
        `planned` before the first look.
        """
        return self._within(sequential_quantile(self.n, planned, level))

    def minus(self, other: Measured) -> Measured:
        """The difference to a number of other shoppers."""
        return Measured(self.value - other.value, hypot(self.error, other.error), self.n + other.n)

    def _within(self, quantile: float) -> Estimate:
        reach = quantile * self.error
        return Estimate(self.value, self.value - reach, self.value + reach)


def apart(one: Estimate, other: Estimate, n: int) -> Measured:
    """The difference of two numbers of the same `n` shoppers of which no more is known than their normal intervals.

    Its error is the sum of theirs, which it is at most, however far the two rise and fall together.
    """
    errors = [(own.high - own.low) / (2 * NormalDist().inv_cdf((1 + LEVEL) / 2)) for own in (one, other)]
    return Measured(one.value - other.value, sum(errors), n)


def sequential_quantile(n: int, planned: int, level: float = LEVEL) -> float:
    """What stands in place of 1.96 where a number of n shoppers is looked at as often as anybody likes."""
    if n < 1 or planned < 1 or not 0 < level < 1:
        raise UsageError(
            f"There is no sequence of {n} shoppers planned for {planned} at level {level}; give counts of at least 1 "
            "and a level between 0 and 1."
        )
    alpha = 1 - level
    rho = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / planned  # rho squared of the paper
    spread = n * rho + 1
    return sqrt(2 * spread / (n * rho) * log(sqrt(spread) / alpha))


def ratio(numerators: DoubleArray, denominators: DoubleArray) -> Measured:
    """Sum of `numerators` (U,) over that of `denominators` (U,), by shopper; its error by the delta method.

    With denominators of 1 it is a mean with the usual standard error.
    """
    n, whole = len(numerators), float(denominators.sum())
    if n < 2 or whole <= 0:
        raise InvalidDataError(
            f"There is nothing to divide by in {n} shoppers, whose denominators add up to {whole:g}; at least two "
            "shoppers and a positive sum are needed."
        )
    value = float(numerators.sum()) / whole
    residuals = numerators - value * denominators  # (U,) add up to 0
    return Measured(value, sqrt(n / (n - 1) * float(residuals @ residuals)) / whole, n)


def by_shopper(shoppers: IntArray, values: DoubleArray) -> DoubleArray:
    """(U,) sums of `values` (R,) of the rows of each of `shoppers` (R,), in the order of their codes."""
    _, codes = np.unique(shoppers, return_inverse=True)
    return np.bincount(codes, weights=values).astype(np.float64)
