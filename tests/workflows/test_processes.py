"""A workspace in several processes and threads: forks, copies, and what follows a close."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hubspoke.errors import UsageError
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace

SESSION = ["lamps-0003", "lamps-0011"]
InChild = Callable[[Callable[[], object]], str]


def test_a_forked_child_asks_the_registry_over_connections_of_its_own(
    each_ws: Workspace, files: Any, in_child: InChild
) -> None:
    each_ws.domain.add("garden", files.items)

    def names() -> list[str]:
        return [own.name for own in each_ws.domain.list()]

    with ThreadPoolExecutor(4) as pool:  # the pool of the parent has connections
        assert list(pool.map(lambda _: names(), range(8))) == [["garden"]] * 8

    def work() -> list[str]:
        each_ws.registry.domains.add("pets", "", {})
        return names()

    assert in_child(work) == "['garden', 'pets']"
    assert names() == ["garden", "pets"]
    assert in_child(names) == "['garden', 'pets']"
    assert names() == ["garden", "pets"]


def test_a_loaded_recommender_answers_in_a_child_while_the_parent_goes_on(shop: Workspace, in_child: InChild) -> None:
    recommender = Recommender(shop, "lamps")
    questions: list[dict[str, Any]] = [{"session": SESSION}, {}, {"session": SESSION, "diversity": 0.5}]
    recommender.recommend()  # what everybody is shown is computed once

    def answers() -> list[Any]:
        return [recommender.recommend(**own).items for own in questions] + [recommender.similar(SESSION[0]).items]

    wanted, ended = answers(), threading.Event()

    def going_on() -> list[bool]:
        found = []
        while not ended.is_set():
            found.append(answers() == wanted)
        return found

    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(going_on) for _ in range(2)]
        try:
            told = [in_child(answers) for _ in range(3)]
        finally:
            ended.set()
        assert all(all(own.result()) for own in busy)
    assert told == [repr(wanted)] * 3


def test_a_child_that_cannot_read_tables_says_so_rather_than_hang(shop: Workspace, in_child: InChild) -> None:
    recommender = Recommender(shop, "lamps")
    for work in (
        lambda: shop.recommend("lamps", SESSION),
        lambda: recommender.recommend(user="user-0003"),
        lambda: shop.data.ingest("lamps", "items.csv"),
    ):
        assert "was forked from one that had read tables" in in_child(work), work
    assert shop.recommend("lamps", SESSION).items  # the parent reads on


FORK_FIRST = """
import os, sys
import hubspoke
from hubspoke.workflows.recommendations import Recommender
with hubspoke.open(workspace=sys.argv[1]) as ws:
    assert [own.name for own in ws.domain.list()] == ["lamps"]
    child = os.fork()
    print([item["item_id"] for item in ws.recommend("lamps", ["lamps-0003"], k=3).items], flush=True)
    if child:
        assert os.waitpid(child, 0)[1] == 0
    else:
        os._exit(0)
"""


def test_children_that_are_forked_before_the_first_question_answer_like_their_parent(shop: Workspace) -> None:
    command = [sys.executable, "-c", FORK_FIRST, str(shop.settings.workspace)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wanted = [item["item_id"] for item in shop.recommend("lamps", ["lamps-0003"], k=3).items]
    assert (ended.returncode, ended.stdout) == (0, f"{wanted}\n" * 2), ended.stderr


def listed(ws: Workspace) -> list[str]:
    return [item["item_id"] for item in ws.recommend("lamps", SESSION).items]


def test_a_workspace_goes_to_spawned_processes_and_can_be_copied(shop: Workspace) -> None:
    wanted = listed(shop)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        # A bound method, so that the child imports the package alone; with a limit, since a pool waits for ever for the
        # answer of a child that could not read its question.
        found = pool.apply_async(shop.recommend, ("lamps", SESSION)).get(timeout=120)
        assert [item["item_id"] for item in found.items] == wanted
    for other in (pickle.loads(pickle.dumps(shop)), copy.deepcopy(shop), copy.copy(shop)):
        with other:
            assert (other.actor, listed(other)) == ("tester", wanted)
    assert listed(shop) == wanted  # a copy closes its own connections
    recommender = copy.deepcopy(Recommender(shop, "lamps"))
    assert [item["item_id"] for item in recommender.recommend(SESSION).items] == wanted


def test_a_closed_workspace_says_so(shop: Workspace) -> None:
    with shop as entered:
        assert entered is shop and shop.domain.list()
    shop.close()  # again
    for ask in (
        lambda: shop.domain.list(),
        lambda: shop.recommend("lamps", SESSION),
        lambda: shop.data.ingest("lamps", "items.csv"),
        lambda: shop.promote("lamps:1"),
        lambda: shop.doctor().checks and shop.registry,
    ):
        with pytest.raises(UsageError, match="is closed; open it again"):
            ask()


def test_answers_follow_promotes_rollbacks_and_data_from_many_threads(shop: Workspace, catalog: Any) -> None:
    """No answer mixes releases: the index and the rules of each are of the release that it names."""
    shop.rules.set("lamps", {"pin": ["lamps-0030"]})
    shop.promote("lamps", rules="rules:lamps/1")
    of = {"release:lamps/1": None, "release:lamps/2": "rules:lamps/1"}
    seen, ended = set[str | None](), threading.Event()

    def asking() -> int:
        asked = 0
        while not ended.is_set():
            answer = shop.recommend("lamps", SESSION, k=3)
            assert answer.rules == of[str(answer.release)]
            assert (answer.items[0]["item_id"] == "lamps-0030") == (answer.rules is not None)
            seen.add(answer.release)
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(asking) for _ in range(4)]
        try:
            for _ in range(3):
                shop.rollback("lamps")
                assert shop.recommend("lamps", SESSION).release == "release:lamps/1"
                shop.promote("lamps", rules="rules:lamps/1")
                assert shop.recommend("lamps", SESSION).release == "release:lamps/2"
        finally:
            ended.set()
        assert all(own.result() for own in busy)
    assert seen == set(of)
    shop.data.ingest("lamps", catalog.filter(catalog["item_id"] != "lamps-0030"))
    assert "lamps-0030" not in [item["item_id"] for item in shop.recommend("lamps", SESSION, k=40).items]
