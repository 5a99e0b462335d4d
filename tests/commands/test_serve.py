"""`hubspoke serve` says what is wrong before it listens; started, it answers, and ends well when it is asked to."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def test_what_cannot_be_served_is_one_sentence_and_an_exit_code(garden) -> None:
    exposed = garden("serve", "--host", "0.0.0.0", "--json")
    assert exposed.code == exposed.json["error"]["exit_code"] == 2 and "--open-to-all" in exposed.err
    missing = garden("serve", "--keys", "keys.json")
    assert missing.code == 5 and "hubspoke key add" in missing.err
    unknown = garden("serve", "--domains", "gardens", "--port", "0")
    assert unknown.code == 5 and "did you mean garden?" in unknown.err


def test_a_key_is_written_to_stdout_alone_and_can_be_taken_back(run, home) -> None:
    made = run("key", "add", "shop", "--scopes", "read,events")
    assert made.code == 0 and made.out.startswith("hsk_") and made.out.count("\n") == 1
    assert run("key", "list", "--json").json["keys"][0]["scopes"] == ["read", "events"]
    assert "would get a key" in run("key", "add", "app", "--dry-run").out
    wrong = run("key", "add", "app", "--scopes", "all")
    assert wrong.code == 2 and "use some of read, events, admin" in wrong.err
    assert run("key", "remove", "shop").code == 0
    assert "No key yet" in run("key", "list").out


@contextmanager
def started(home: Path, *arguments: str) -> Iterator[str]:
    """A server in a process of its own, and what it wrote when it listened; it ends well when it is asked to."""
    command = [sys.executable, "-c", "from hubspoke.cli import main; main()", *arguments, "--port", "0", "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUBSPOKE_")}
    with subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            written = ""
            while not written.endswith("\n}\n"):
                line = process.stdout.readline()
                assert line, f"it ended with {process.wait(60)} and told {written!r}"
                written += line
            yield written
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()  # where it has not ended by itself


def test_a_service_says_where_it_listens_and_ends_with_0_when_it_is_asked_to(garden, home, json_contract) -> None:
    with started(home, "serve") as written:
        json_contract(("serve",), written)
        found = json.loads(written)
        assert (found["console"], found["token"]) == (None, None)
        with urllib.request.urlopen(f"{found['address']}/v2/health/live", timeout=30) as answer:
            assert json.load(answer) == {"live": True}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("console",), ("serve", "--console")])
def test_a_console_says_where_it_is_and_what_to_sign_in_with(garden, home, json_contract, arguments) -> None:
    with started(home, *arguments, "--allow-changes") as written:
        json_contract(arguments[:1], written)
        found = json.loads(written)
        assert len(found["token"]) == 32
        where = found["console"] if arguments[0] == "serve" else found["address"]
        with urllib.request.urlopen(where, timeout=30) as page:
            assert page.status == 200 and "garden" in page.read().decode()
    lonely = garden("serve", "--allow-changes")
    assert lonely.code == 2 and "give --console too" in lonely.err
