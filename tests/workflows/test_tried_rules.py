"""Rules that are tried before any version holds them."""

from hubspoke.workflows.question import Question
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.tried_rules import under
from hubspoke.workflows.workspace import Workspace


def test_a_trial_shows_its_own_rules_and_leaves_what_serves_alone(shop: Workspace) -> None:
    question = Question(["lamps-0003", "lamps-0011"])
    ref = str(shop.rules.set("lamps", {"pin": ["lamps-0039"]}).ref)
    shop.promote("lamps", rules=ref)
    serving = Recommender(shop, "lamps")
    before = serving.answer(question)
    tried = under(serving, {"hide_items": ["lamps-0039"]}).answer(question)
    assert (before.rules, tried.rules) == (ref, None)
    assert before.items[0]["item_id"] == "lamps-0039"
    assert "lamps-0039" not in [item["item_id"] for item in tried.items]
    assert serving.answer(question) == before
