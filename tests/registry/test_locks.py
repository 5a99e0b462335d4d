import re

import pytest
from hubspoke.errors import LockedError
from hubspoke.registry.store import Registry

HOLD = """
import sys
from hubspoke.errors import LockedError
from hubspoke.registry.store import Registry
with Registry(sys.argv[1]) as registry:
    try:
        with registry.lock("train garden"):
            print("held", flush=True)
            sys.stdin.readline()
    except LockedError as error:
        print(error, flush=True)
"""


def test_a_lock_is_held_once_and_free_again(registry: Registry) -> None:
    with registry.lock("train garden"):
        with pytest.raises(LockedError, match=r"holds 'train garden'; wait for it to end"):
            registry.lock("train garden").__enter__()
        with registry.lock("train pets"):
            pass
    with pytest.raises(ValueError, match="stop"), registry.lock("train garden"):
        raise ValueError("stop")
    with registry.lock("train garden"):  # after an error too
        pass


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_process_is_told_who_holds_it_until_that_ends(registry_url: str, start, killed: bool) -> None:
    holder = start(HOLD, registry_url)
    assert holder.stdout.readline() == "held\n"
    told = start(HOLD, registry_url).stdout.readline()
    assert re.search(rf"Process {holder.pid}\b.*holds 'train garden'", told)
    if killed:
        holder.kill()
    holder.communicate("\n")
    # The server notices the closed connection of a killed one by itself, in a moment that is not ours to choose.
    with Registry(registry_url) as registry:
        for _ in range(10_000 if killed else 1):
            try:
                with registry.lock("train garden"):
                    return
            except LockedError:
                continue
    pytest.fail("the lock outlived its process")
