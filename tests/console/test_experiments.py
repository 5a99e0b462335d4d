"""Experiments in the console: what they say, and starting, ending and deciding them as the commands do."""

import re

import pytest
from fastapi.testclient import TestClient
from hubspoke.console.pages.experiment import WIDTH, span
from hubspoke.workflows.experiment_reports import MetricEffect

from .conftest import Editor

PAGE = "/console/categories/lamps"
OWN = f"{PAGE}/experiments/1"
NEW = f"{PAGE}/experiments/new"
PLAN = {"candidate": "release:lamps/2", "share": "10", "metric": "purchases", "planned": "500", "days": "3"}


def test_an_experiment_tells_its_arms_its_split_and_what_is_clear(visitor: TestClient) -> None:
    text = visitor.get(OWN).text
    assert "The candidate is better: revenue per shopper 5 to 10" in text and "split is sound" in text
    arms = text.partition('id="arms"')[2].partition("</section>")[0]
    assert re.findall(r'<td class="num">([^<]+)</td>', arms)[:4] == ["50 %", "120", "120", "120"]
    metrics = text.partition('id="metrics"')[2].partition("</section>")[0]
    rows = {row.split("<")[0].strip(): row for row in metrics.split('<th scope="row">')[1:]}
    assert "decides" in rows["revenue"] and ">better<" in rows["revenue"] and "+100.0 %" in rows["revenue"]
    assert 'role="img" aria-label="revenue: +5' in rows["revenue"]
    assert "no known cost" in rows["margin"] and "<svg" not in rows["margin"]
    assert "a &lt;b&gt;warmer&lt;/b&gt; light" in text and "This console only shows" in text
    category = visitor.get(PAGE).text
    assert "experiment:lamps/1" in category and ">runs<" in category and "experiments/new" not in category
    assert "experiment:lamps/1" in visitor.get(f"{PAGE}/glance").text
    assert "experiment:lamps/1 runs and splits" in visitor.get(f"{PAGE}/promote?ref=lamps:2").text


def test_an_effect_is_drawn_around_no_difference() -> None:
    drawn = span(MetricEffect("revenue", "shopper", True, 1.0, 1.5, 0.5, 0.5, (0.0, 1.0), (-1.0, 2.0)))
    assert drawn is not None
    assert (drawn.always, drawn.once, drawn.at) == ((57.5, WIDTH - 5.0), (110.0, 162.5), 136.2)
    assert span(MetricEffect("margin", "shopper", False, reason="no costs")) is None
    flat = span(MetricEffect("clicks", "shopper", False, 0.0, 0.0, 0.0, None, (0.0, 0.0), (0.0, 0.0)))
    assert flat is not None and flat.always == (WIDTH / 2, WIDTH / 2)


def test_one_is_ended_and_another_started(editor: Editor) -> None:
    experiments = editor.workspace.experiments
    assert editor.send(OWN, f"{OWN}/stop", reason=" ").status_code == 400
    assert experiments.find("lamps").stopped_at is None
    done = editor.send(OWN, f"{OWN}/stop", reason="seen <i>enough</i>")
    assert done.status_code == 303
    told = editor.client.get(done.headers["location"]).text
    assert "Ended: everybody is shown what is live" in told and "seen &lt;i&gt;enough&lt;/i&gt;" in told
    assert (experiments.find("lamps").stopped_by, experiments.find("lamps").stop_reason) == (
        "tester",
        "seen <i>enough</i>",
    )
    assert "experiments/new" in editor.client.get(PAGE).text
    done = editor.send(NEW, NEW, **PLAN, reason="once more")
    assert done.status_code == 303 and done.headers["location"] == f"{PAGE}/experiments/2?done=started"
    made = experiments.find("lamps")
    assert (made.candidate, made.share, made.metric, made.planned) == ("release:lamps/2", 0.1, "purchases", 500)
    assert (made.window_seconds, made.actor, made.reason) == (3 * 86_400, "tester", "once more")
    text = editor.client.get(done.headers["location"]).text
    assert "No list of experiment:lamps/2 has been shown yet" in text and "nobody yet" in text
    assert "runs already" in editor.client.get(NEW).text
    assert editor.send(OWN, NEW, **PLAN, reason="a third").status_code in (409, 423)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"share": "100"}, "give a whole number from 1 to 99"),
        ({"days": "x"}, "give a whole number from 1 to 365"),
        ({"metric": "fame"}, "No experiment goes by"),
        ({"candidate": "release:mugs/1"}, "not of lamps"),
        ({"candidate": "release:lamps/1"}, "cannot be compared with itself"),
        ({"reason": ""}, "say it in a few words"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(editor: Editor, fields: dict[str, str], says: str) -> None:
    editor.workspace.experiments.stop("lamps")
    refused = editor.send(NEW, NEW, **(PLAN | {"reason": "why"} | fields))
    assert refused.status_code == 400 and says in refused.text
    assert len(editor.workspace.experiments.list("lamps")) == 1


def test_a_clear_winner_goes_live_and_its_experiment_ends(editor: Editor) -> None:
    late = editor.send(OWN, f"{OWN}/promote", reason="better", expected="release:lamps/2")
    assert late.status_code == 409 and "has moved since" in late.text
    done = editor.send(OWN, f"{OWN}/promote", reason="better", expected="release:lamps/1")
    assert done.status_code == 303 and editor.workspace.registry.domains.get("lamps").live == "release:lamps/2"
    move = editor.workspace.history("lamps")[-1]
    assert move.reason and "experiment:lamps/1: revenue per shopper 5 to 10" in move.reason and "better" in move.reason
    assert editor.workspace.experiments.find("lamps").stopped_at is not None
    assert "Make the candidate live" not in editor.client.get(OWN).text


def test_what_the_gate_refuses_is_told_before_the_click_and_may_be_overruled(editor: Editor) -> None:
    editor.workspace.gate.set("lamps", minimum={"ndcg@10": 0.99})
    text = editor.client.get(OWN).text
    assert "does not hold" in text and "Overrule what was refused" in text and "does not meet the gate" in text
    fields = {"reason": "because", "expected": "release:lamps/1"}
    assert editor.send(OWN, f"{OWN}/promote", **fields).status_code == 409
    assert editor.workspace.registry.domains.get("lamps").live == "release:lamps/1"
    assert editor.send(OWN, f"{OWN}/promote", **fields, override="yes").status_code == 303
    assert editor.workspace.registry.domains.get("lamps").live == "release:lamps/2"


def test_who_only_looks_ends_and_starts_nothing(visitor: TestClient) -> None:
    token = visitor.get(f"{PAGE}/rules").text.partition('name="form_token" value="')[2].partition('"')[0]
    for action in (f"{OWN}/stop", f"{OWN}/promote", NEW):
        refused = visitor.post(action, data={**PLAN, "reason": "x", "form_token": token})
        assert refused.status_code == 403, action


def test_an_experiment_that_says_nothing_yet_speaks_against_its_candidate(editor: Editor) -> None:
    editor.workspace.experiments.stop("lamps")
    editor.workspace.experiments.start("lamps", "release:lamps/2")
    page = f"{PAGE}/experiments/2"
    text = editor.client.get(page).text
    assert "No list of experiment:lamps/2 has been shown yet" in text.partition('id="promote"')[2]
    fields = {"reason": "because", "expected": "release:lamps/1"}
    assert editor.send(page, f"{page}/promote", **fields).status_code == 409
    assert editor.send(page, f"{page}/promote", **fields, override="yes").status_code == 303
    assert editor.workspace.registry.domains.get("lamps").live == "release:lamps/2"
