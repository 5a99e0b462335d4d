"""What is kept in memory between the steps of a command: hubs and data, loaded once however many steps need them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ..forks import Lock

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """The values that were used last, by what they are made of: a key names content hashes, so that none is ever stale.

    Whoever gets one shares it and must not change it. Those that are let go live on as long as somebody holds them.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """The value of a key, loaded where it is not kept; two threads that ask at once load it once."""
        with self._lock:
            value = self._values.pop(key) if key in self._values else load()
            self._values[key] = value
            while len(self._values) > self._at_most:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Let all of them go."""
        with self._lock:
            self._values.clear()


class Memo(Cache[Value]):
    """A cache that many threads ask at once: nobody waits for another's value, and two may make the same one.

    Unlike `functools.lru_cache` over a method it makes no circle, so that its owner goes when nobody holds it.
    """

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """The value of a key, made where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = load()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._at_most:
                self._values.popitem(last=False)
        return value
