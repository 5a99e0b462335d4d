"""Runs the command line in a process of its own, which stops at the n-th call of one function.

There it says HERE and waits for the end of its input, so that a test can kill it or let it go on. Arguments:
MODULE:FUNCTION (or MODULE:CLASS.METHOD), N, then those of the command line.
"""

import functools
import importlib
import sys

from hubspoke.cli import main

place, nth, *arguments = sys.argv[1:]
module, _, path = place.partition(":")
owner, name = importlib.import_module(module), path
if "." in path:
    owner, name = getattr(owner, path.split(".")[0]), path.split(".")[1]
real, calls = getattr(owner, name), [0]


@functools.wraps(real)
def stop(*args, **kwargs):
    calls[0] += 1
    if calls[0] == int(nth):
        sys.__stdout__.write("HERE\n")
        sys.__stdout__.flush()
        sys.stdin.read()
    return real(*args, **kwargs)


setattr(owner, name, stop)
sys.argv = ["hubspoke", *arguments]
main()
