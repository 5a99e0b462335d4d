"""What is in memory: loaded once however many ask, swapped as a whole, the least recently used out, failures kept."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from hubspoke.errors import CorruptArtifactError, NotFoundError
from hubspoke.serving import residents as module
from hubspoke.serving.releases import Heads, Place, Version
from hubspoke.serving.residents import Resident, Residents


class Loads:
    """Loads that take a moment and remember what they were asked for; versions in `damaged` fail."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.asked, self.damaged = size, [], set()

    async def __call__(self, place: Place, version: Version) -> Resident:
        self.asked.append(version.release)
        await asyncio.sleep(0)
        if version.release in self.damaged:
            raise CorruptArtifactError("damaged; restore it.")
        return Resident(place, version, object(), object(), self.size, 0.0, datetime.now(UTC))


def heads(**releases: str) -> Heads:
    return Heads({Place(name): Version(f"release:{name}/{number}", None, None) for name, number in releases.items()})


def running(test: Callable[[Residents, Loads], Coroutine[Any, Any, None]], capacity: int = 100) -> None:
    loads = Loads()
    residents = Residents(loads, capacity)
    residents.heads = heads(a=1, b=1, c=1)
    asyncio.run(test(residents, loads))


def test_many_that_ask_at_once_share_one_load_and_one_that_goes_away_takes_it_from_nobody() -> None:
    async def test(residents: Residents, loads: Loads) -> None:
        first = asyncio.create_task(residents.get("a", "live"))
        others = [asyncio.create_task(residents.get("a", "live")) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        found = await asyncio.gather(*others)
        assert loads.asked == ["release:a/1"] and len({id(own) for own in found}) == 1
        assert await residents.get("a", "live") is found[0]

    running(test)


def test_the_least_recently_used_makes_room_and_is_loaded_again_when_it_is_asked_for() -> None:
    async def test(residents: Residents, loads: Loads) -> None:
        for name in ("a", "b", "a", "c"):
            await residents.get(name, "live")
        assert (len(residents), residents.bytes) == (2, 20)
        assert residents.peek(Place("b")) is None and residents.peek(Place("a")) is not None
        await residents.get("b", "live")
        assert loads.asked == ["release:a/1", "release:b/1", "release:c/1", "release:b/1"]

    running(test, capacity=25)


def test_one_that_is_larger_than_all_there_may_be_serves_all_the_same() -> None:
    async def test(residents: Residents, _: Loads) -> None:
        await residents.get("a", "live")
        assert len(residents) == 1

    running(test, capacity=1)


def test_a_new_version_takes_the_place_of_the_old_one_when_it_is_loaded_and_not_before() -> None:
    async def test(residents: Residents, _: Loads) -> None:
        old = await residents.get("a", "live")
        moving = asyncio.create_task(residents.follow(heads(a=2, b=1)))
        await asyncio.sleep(0)
        assert await residents.get("a", "live") is old
        await moving
        assert (await residents.get("a", "live")).version.release == "release:a/2"
        with pytest.raises(NotFoundError, match="c@live points at no release"):
            await residents.get("c", "live")
        await residents.follow(heads(b=1))
        assert residents.peek(Place("a")) is None

    running(test)


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_is_tried_later_and_later(monkeypatch) -> None:
    async def test(residents: Residents, loads: Loads) -> None:
        moment = [0.0]
        monkeypatch.setattr(module.time, "monotonic", lambda: moment[0])
        old = await residents.get("a", "live")
        loads.damaged.add("release:a/2")
        for now, tries in ((0.0, 1), (0.9, 1), (1.0, 2), (2.9, 2), (3.0, 3), (6.9, 3), (7.0, 4)):
            moment[0] = now
            await residents.follow(heads(a=2))
            assert (await residents.get("a", "live"), loads.asked.count("release:a/2")) == (old, tries)
        loads.damaged.clear()
        moment[0] = 20.0
        await residents.follow(heads(a=2))
        assert (await residents.get("a", "live")).version.release == "release:a/2" and not residents.failures

    running(test)


def test_a_candidate_is_in_memory_before_its_experiment_begins_and_tried_again_where_it_is_not(monkeypatch) -> None:
    place = Place("a", "experiment/1")

    async def test(residents: Residents, loads: Loads) -> None:
        moment = [0.0]
        monkeypatch.setattr(module.time, "monotonic", lambda: moment[0])
        version = Version("release:a/9", None, None)
        compared = Heads({**heads(a=1).versions, place: version})
        loads.damaged.add("release:a/9")
        for now, tries in ((0.0, 1), (0.9, 1), (1.0, 2), (2.9, 2), (3.0, 3)):
            moment[0] = now
            await residents.follow(compared)
            assert loads.asked.count("release:a/9") == tries and residents.peek(place) is None
        loads.damaged.clear()
        residents.heads, residents.failures = heads(a=1), {}
        beginning = asyncio.create_task(residents.follow(compared))
        await asyncio.sleep(0)
        assert residents.is_loading(place) and place not in residents.heads.versions
        await beginning
        assert residents.peek(place).ref == "release:a/9" and place in residents.heads.versions
        await residents.follow(heads(a=1))
        assert residents.peek(place) is None and not residents.failures

    running(test)


def test_what_cannot_be_loaded_at_all_is_told_to_whoever_asks_without_trying_each_time() -> None:
    async def test(residents: Residents, loads: Loads) -> None:
        loads.damaged.add("release:a/1")
        for _ in range(3):
            with pytest.raises(CorruptArtifactError):
                await residents.get("a", "live")
        assert loads.asked == ["release:a/1"]

    running(test)
