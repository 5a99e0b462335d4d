"""Forks: a lock that was held is free in the child, and what is to be renewed there is, as long as it lives."""

import gc

from hubspoke import forks
from hubspoke.forks import Lock, renew_in_child


def test_a_lock_that_was_held_is_free_in_the_child(in_child) -> None:
    lock, held = Lock(), Lock()

    def work() -> str:
        with held, lock:
            return "free"

    with held:
        pass
    held._lock.acquire()  # as by another thread, which the child has not
    assert in_child(work) == "'free'"
    held._lock.release()
    with held, lock:
        pass


class Owner:
    name = "kept"


def test_what_lives_is_renewed_in_the_child_alone(in_child) -> None:
    kept, gone, renewed = Owner(), Owner(), []
    gone.name = "gone"
    for owner in (kept, gone):
        renew_in_child(owner, lambda own: renewed.append(own.name))
    del owner, gone
    gc.collect()
    assert in_child(lambda: renewed) == "['kept']"
    assert renewed == []


def test_tables_may_be_read_where_nothing_was_forked() -> None:
    forks.require_tables()
