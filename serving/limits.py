"""How much one request, and one caller, may ask for."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from .problems import ProblemError

MAX_K = 1000
MAX_SESSION = 1000  # events of a session
MAX_GIVEN = 500  # items that are to be ranked
MAX_EXPLAINED = 50  # items of an explanation
MAX_BATCH = 100  # requests in one
MAX_ID = 512  # letters of an id
MAX_TEXT = 2000  # letters of what is looked for
# A search may bring a picture.
PICTURE_FACTOR = 8
_CALLERS = 10_000


class RateLimiter:
    """A bucket of tokens for each caller: `rate` flow in per second, a second's worth may be spent at once."""

    def __init__(self, rate: float | None) -> None:
        self._rate, self._burst = rate, max(1.0, rate or 0.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def spend(self, caller: str) -> None:
        """Take a token of the caller's; a 429 where there is none."""
        if self._rate is None:
            return
        moment = time.monotonic()
        tokens, counted = self._buckets.pop(caller, (self._burst, moment))
        tokens = min(self._burst, tokens + (moment - counted) * self._rate)
        self._buckets[caller] = (tokens - 1 if tokens >= 1 else tokens), moment
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait = math.ceil((1 - tokens) / self._rate)
            raise ProblemError(429, f"More than {self._rate:g} requests a second; wait.", {"Retry-After": str(wait)})
