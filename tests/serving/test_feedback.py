"""The loop of feedback: shown, taken, recommended otherwise at once, ingested, and known to the command line."""

import json
from typing import Any

from click.testing import CliRunner
from hubspoke.cli import cli
from hubspoke.serving.releases import Place
from hubspoke.workflows.datasets import read_table
from hubspoke.workflows.workspace import Workspace

ASK, EVENTS = "/v1/domains/lamps/recommend", "/v1/domains/lamps/events"


def run(shop: Workspace, *arguments: str) -> Any:
    ended = CliRunner().invoke(cli, [*arguments, "--workspace", str(shop.settings.workspace), "--json", "--quiet"])
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def test_what_is_done_now_counts_at_once_and_is_trained_on_later(listen: Any, shop: Workspace) -> None:
    running = listen(domains=("lamps",))

    def ask(**how: Any) -> Any:
        return running.ask("POST", ASK, {"user": "new", "k": 5, **how})[1]

    first = ask()
    assert (first["fallback"], first["session"]) == ("unknown user", [])
    answers = [first]
    for number in range(3):
        shown = answers[-1]["items"][number]["item_id"]
        event = {"user_id": "new", "item_id": shown, "recommendation_id": answers[-1]["recommendation_id"]}
        event |= {"event_id": f"e{number}", "event_type": "cart"}
        assert running.ask("POST", EVENTS, event)[0] == 202
        answers.append(ask())
        assert answers[-1]["session"][-1]["item_id"] == shown and answers[-1]["served_by"] == "lamps:1"
        assert answers[-1]["items"] != answers[-2]["items"]
    # Under a promotion the session goes on, on the other release.
    shop.promote("lamps:2")
    running.until(lambda: ask()["release"] == "release:lamps/2")
    assert ask()["session"] == answers[-1]["session"]
    served = ask()

    taken = run(shop, "data", "ingest", "lamps", "--from-log")
    assert (taken["log"]["added"], taken["events"]["ref"]) == (3, "snapshot:lamps/events/2")
    assert run(shop, "data", "ingest", "lamps", "--from-log")["cached"]
    known = run(shop, "recommend", "lamps", "--user", "new", "-k", "5")
    assert known["session"] == served["session"]
    assert [own["item_id"] for own in known["items"]] == [own["item_id"] for own in served["items"]]
    # The service has taken the snapshot up too; what it remembers counts once.
    residents, place = running.service.residents, Place("lamps")
    running.until(lambda: residents.peek(place).version.events == taken["events"]["ref"])
    assert ask()["items"] == served["items"] and ask()["session"] == served["session"]

    # Which answer an event followed is kept for attribution.
    events = read_table(shop, shop.registry.snapshots.get("snapshot:lamps/events/2")).filter(user_id="new")
    told = [{row["key"]: row["value"] for row in rows} for rows in events["attributes"]]
    assert [own["recommendation_id"] for own in told] == [own["recommendation_id"] for own in answers[:3]]
