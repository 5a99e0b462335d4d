"""Forks: a lock that was held is free in the child, and what is to be renewed there is, as long as it lives."""

import gc
import os

from hubspoke import forks
from hubspoke.forks import Lock, renew_in_child


def told_by_child(work) -> bytes:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, work())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()
    assert os.waitpid(child, 0)[1] == 0
    return told


def test_a_lock_that_was_held_is_free_in_the_child() -> None:
    lock, held = Lock(), Lock()

    def work() -> bytes:
        with held, lock:
            return b"free"

    with held:
        pass
    held._lock.acquire()  # as by another thread, which the child has not
    assert told_by_child(work) == b"free"
    held._lock.release()
    with held, lock:
        pass


class Owner:
    name = b"kept"


def test_what_lives_is_renewed_in_the_child_alone() -> None:
    kept, gone, renewed = Owner(), Owner(), []
    gone.name = b"gone"
    for owner in (kept, gone):
        renew_in_child(owner, lambda own: renewed.append(own.name))
    del owner, gone
    gc.collect()
    assert told_by_child(lambda: b",".join(renewed)) == b"kept"
    assert renewed == []


def test_tables_may_be_read_where_nothing_was_forked() -> None:
    forks.require_tables()
