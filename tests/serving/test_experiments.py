"""Experiments in the service: who sees what follows from their id alone, and what was shown is logged, or counted."""

import errno
import os
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hubspoke.catalog.exposures import read_exposures
from hubspoke.catalog.line_log import LineLog
from hubspoke.evaluation.experiments import is_treated
from hubspoke.registry.records import ExperimentPlan, ExperimentRecord
from hubspoke.serving import experiments as module
from hubspoke.serving.app import create_app
from hubspoke.serving.experiments import ExposureWriter, assign
from hubspoke.serving.metrics import Metrics
from hubspoke.serving.releases import Place, read_heads
from hubspoke.serving.service import Service
from hubspoke.serving.settings import ServeSettings
from hubspoke.workflows.workspace import Workspace

LAMPS = "/v1/domains/lamps"
ASK = f"{LAMPS}/recommend"
RELEASES = {"control": "release:lamps/1", "candidate": "release:lamps/2"}
PLAN = ExperimentPlan(share=0.25, planned=1000, window_seconds=60.0, metric="revenue")


def start(shop: Workspace, plan: ExperimentPlan = PLAN) -> ExperimentRecord:
    return shop.registry.experiments.add("lamps", *RELEASES.values(), plan, "tester")


def arm_of(experiment: ExperimentRecord, shopper: str) -> str:
    return "candidate" if is_treated(shopper, experiment.salt, experiment.share) else "control"


def one_of(experiment: ExperimentRecord, arm: str) -> str:
    return next(name for name in map(str, range(1000)) if arm_of(experiment, name) == arm)


def logged(shop: Workspace) -> list[dict[str, Any]]:
    return read_exposures(shop.settings.exposures_dir / "lamps").exposures.rows(named=True)


def counted(client: TestClient, metric: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


def test_an_arm_follows_from_the_shopper_and_its_probability_from_the_share(shop: Workspace) -> None:
    experiment = start(shop)
    found = [assign(experiment, f"shopper-{n}") for n in range(4000)]
    for own in found:
        assert own.arm == arm_of(experiment, own.shopper)
        assert own.propensity == {"candidate": 0.25, "control": 0.75}[own.arm]
    assert 900 < sum(own.arm == "candidate" for own in found) < 1100  # 1000 and 3.6 standard deviations


def test_each_shopper_is_answered_by_their_arm_and_all_of_it_is_logged(serve: Any, shop: Workspace) -> None:
    experiment = start(shop)
    shown = {}
    with TestClient(create_app(Service(shop, ServeSettings(access_log=False)))) as client:
        for name in ("ann", "bob", one_of(experiment, "control"), one_of(experiment, "candidate"), "user-0003"):
            found = client.post(ASK, json={"user": name, "k": 4}).json()
            arm = arm_of(experiment, name)
            assert found["experiment"] == {"ref": "experiment:lamps/1", "arm": arm}
            assert found["release"] == RELEASES[arm]
            assert found["ref"] == {"control": "lamps@live", "candidate": "release:lamps/2"}[arm]
            # The list is that of the release by itself.
            alone = client.post(ASK, json={"user": name, "k": 4, "alias": "candidate"}).json()
            assert alone["experiment"] is None
            if arm == "candidate":
                assert found["items"] == alone["items"]
            shown[found["recommendation_id"]] = (name, arm, [own["item_id"] for own in found["items"]])
        ranked = client.post(f"{LAMPS}/rank", json={"user": "ann", "items": ["lamps-0002", "lamps-0001", "oak"]}).json()
        order = [own["item_id"] for own in ranked["items"]]
        shown[ranked["recommendation_id"]] = ("ann", arm_of(experiment, "ann"), order)
        assert sorted(order) == ["lamps-0001", "lamps-0002"]
    found = logged(shop)
    assert {own["recommendation_id"]: (own["shopper"], own["arm"], own["items"]) for own in found} == shown
    assert {own["experiment"] for own in found} == {"experiment:lamps/1"}
    assert all(own["release"] == RELEASES[own["arm"]] for own in found)
    assert all(own["propensity"] == {"candidate": 0.25, "control": 0.75}[own["arm"]] for own in found)
    assert [own["at"] for own in found] == sorted(own["at"] for own in found)
    assert not any(".open" in path.name for path in (shop.settings.exposures_dir / "lamps").iterdir())


def test_whoever_sends_a_session_takes_part_by_the_name_of_a_shopper(client: TestClient, shop: Workspace) -> None:
    experiment = start(shop)
    client.portal.call(client.app.state.service.look)
    session = [own["item_id"] for own in shop.recommend("lamps", k=2).items]
    for arm in ("control", "candidate"):
        name = one_of(experiment, arm)
        found = client.post(ASK, json={"session": session, "shopper": name}).json()
        assert (found["experiment"]["arm"], found["fallback"]) == (arm, None)
        # Where both are named the experiment goes by the shopper, what is known by the user.
        found = client.post(ASK, json={"user": "user-0003", "shopper": name}).json()
        assert found["experiment"]["arm"] == arm and found["session"]


def test_who_names_nobody_or_asks_otherwise_is_in_no_experiment(client: TestClient, shop: Workspace) -> None:
    experiment = start(shop)
    client.portal.call(client.app.state.service.look)
    name = one_of(experiment, "candidate")
    session = [own["item_id"] for own in shop.recommend("lamps", k=2).items]
    for body in ({}, {"session": session}, {"user": name, "alias": "candidate"}):
        found = client.post(ASK, json=body).json()
        assert found["experiment"] is None and found["release"] == RELEASES[body.get("alias", "control")]
    batched = client.post(f"{ASK}:batch", json={"requests": [{"user": name}]}).json()
    assert batched["results"][0]["experiment"] is None and batched["release"] == RELEASES["control"]
    assert client.post("/v1/domains/mugs/recommend", json={"user": name}).json()["experiment"] is None
    # Nobody can ask for the candidate's place by itself.
    assert client.post(ASK, json={"alias": "experiment/1"}).status_code == 422
    # What explains a list is of the same arm, and shows nobody anything.
    explained = client.post(f"{LAMPS}/explain", json={"session": session, "shopper": name, "k": 2}).json()
    assert (explained["release"], explained["experiment"]["arm"]) == (RELEASES["candidate"], "candidate")
    client.app.state.service.exposures.close()
    assert logged(shop) == []


def test_what_is_compared_is_listed_beside_the_aliases(client: TestClient, shop: Workspace) -> None:
    assert client.get(LAMPS).json()["experiment"] is None
    start(shop)
    client.portal.call(client.app.state.service.look)
    found = client.get(LAMPS).json()
    assert set(found["aliases"]) == {"live", "candidate"}
    assert (found["experiment"]["ref"], found["experiment"]["share"]) == ("experiment:lamps/1", 0.25)
    assert found["experiment"]["candidate"]["serving"] == "release:lamps/2"


def test_an_experiment_begins_and_ends_while_the_service_runs(listen: Any, shop: Workspace) -> None:
    running = listen()

    def experiment() -> Any:
        return running.ask("POST", ASK, {"user": "ann"})[1]["experiment"]

    assert experiment() is None
    started = start(shop)
    running.until(lambda: experiment() == {"ref": started.ref, "arm": arm_of(started, "ann")})
    candidate = Place.candidate(started)
    assert running.service.residents.peek(candidate) is not None
    shop.registry.experiments.stop(started.ref, "tester")
    running.until(lambda: experiment() is None)
    running.until(lambda: running.service.residents.peek(candidate) is None)


def test_where_live_is_no_longer_the_control_nothing_is_compared(listen: Any, shop: Workspace) -> None:
    start(shop)
    running = listen()
    assert read_heads(shop.registry).experiments.keys() == {"lamps"}
    assert read_heads(shop.registry, ("mugs",)).experiments == {}
    shop.promote("lamps:2")
    assert read_heads(shop.registry).experiments == {}
    running.until(lambda: running.ask("POST", ASK, {"user": "ann"})[1]["experiment"] is None)
    shop.rollback("lamps")
    running.until(lambda: running.ask("POST", ASK, {"user": "ann"})[1]["experiment"] is not None)
    assert running.ask("POST", ASK, {"user": "ann"})[1]["release"] in RELEASES.values()


def test_before_the_control_is_loaded_nobody_is_assigned(client: TestClient, shop: Workspace) -> None:
    shop.promote("lamps:2")
    service = client.app.state.service
    client.portal.call(service.look)
    assert client.post(ASK, json={"user": "ann"}).json()["release"] == "release:lamps/2"
    shop.rollback("lamps")
    start(shop)
    service.residents.heads = read_heads(shop.registry)  # as a look finds it, before it loads anything
    found = client.post(ASK, json={"user": "ann"}).json()
    assert (found["release"], found["experiment"]) == ("release:lamps/2", None)


def test_where_the_candidate_cannot_be_loaded_live_answers_its_arm(listen, shop: Workspace, caplog: Any) -> None:
    artifact = shop.registry.indexes.get("index:lamps/2").artifact
    (file,) = shop.artifacts.open(artifact).glob("*.faiss")
    file.chmod(0o644)
    file.write_bytes(b"damaged")
    experiment = start(shop)
    running = listen()
    name = one_of(experiment, "candidate")
    found = running.ask("POST", ASK, {"user": name})[1]
    assert (found["release"], found["experiment"]["arm"], found["ref"]) == (
        "release:lamps/1",
        "candidate",
        "lamps@live",
    )
    assert "release:lamps/2 of lamps@experiment/1 cannot be loaded" in caplog.text
    assert 'hubspoke_experiment_fallbacks_total{domain="lamps"} 1.0' in running.service.metrics.exposition().decode()
    assert running.ask("GET", LAMPS)[1]["experiment"]["candidate"]["failure"] is not None
    running.service.exposures.close()
    assert [(own["arm"], own["release"]) for own in logged(shop)] == [("candidate", "release:lamps/1")]
    shop.registry.experiments.stop(experiment.ref, "tester")
    running.until(lambda: running.ask("GET", "/v2/health/ready") == (200, {"ready": True, "failed": []}))


@pytest.mark.parametrize("name", ["", "x" * 513, 7, {}, ["ann"]])
def test_what_is_no_name_is_refused(client: TestClient, shop: Workspace, name: Any) -> None:
    start(shop)
    assert client.post(ASK, json={"shopper": name}).status_code == 422


def test_any_text_may_be_the_name_of_a_shopper(shop: Workspace) -> None:
    experiment = start(shop)
    names = ['"}\n{"', "a\r\nb", "\x00", "\u2028", "ü" * 512, "../../etc", "{{7*7}}", " ", "null", "experiment:lamps/1"]
    with TestClient(create_app(Service(shop, ServeSettings(access_log=False)))) as client:
        for name in names:
            found = client.post(ASK, json={"shopper": name}).json()
            assert found["experiment"]["arm"] == arm_of(experiment, name)
        halved = client.post(ASK, content=b'{"shopper": "\\ud800"}', headers={"content-type": "application/json"})
        assert halved.status_code == 422
    assert [own["shopper"] for own in logged(shop)] == names
    assert [path.name for path in shop.settings.exposures_dir.iterdir()] == ["lamps"]


def test_two_processes_put_everybody_into_the_same_arm(serve: Any, shop: Workspace) -> None:
    start(shop, ExperimentPlan(0.5, 1000, 60.0, "revenue"))
    first, second = serve(), serve()
    arms = [
        [asked.post(ASK, json={"user": f"u{n}", "k": 1}).json()["experiment"]["arm"] for n in range(40)]
        for asked in (first, second)
    ]
    assert arms[0] == arms[1] and set(arms[0]) == {"control", "candidate"}
    for client in (first, second):
        client.app.state.service.exposures.close()
    assert len(logged(shop)) == 80


def test_a_full_disk_costs_exposures_and_no_answer(client, shop: Workspace, monkeypatch, caplog: Any) -> None:
    start(shop)
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.001)
    service = client.app.state.service
    client.portal.call(service.look)
    real = LineLog.append
    refused, written = threading.Semaphore(0), threading.Semaphore(0)

    def full(self: LineLog, lines: Any) -> None:
        try:
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
                real(self, lines)
        finally:
            refused.release()

    def working(self: LineLog, lines: Any) -> None:
        real(self, lines)
        written.release()

    for append, done, name in ((full, refused, "a"), (full, refused, "b"), (working, written, "c")):
        monkeypatch.setattr(LineLog, "append", append)
        assert client.post(ASK, json={"user": name}).status_code == 200
        assert done.acquire(timeout=30)
    service.exposures.close()
    assert [own["shopper"] for own in logged(shop)] == ["c"]
    assert counted(client, "hubspoke_exposures_total{") == 1
    assert counted(client, "hubspoke_exposures_lost_total{") == 2
    told = [record.getMessage() for record in caplog.records if "exposures of lamps" in record.getMessage()]
    assert len(told) == 1 and "No space is left on the disk" in told[0]


def test_what_is_beyond_the_queue_is_lost_and_counted(shop: Workspace, monkeypatch: Any) -> None:
    experiment, metrics = start(shop), Metrics()
    gate = threading.Event()
    writer = ExposureWriter(shop.settings.exposures_dir, metrics, waiting=2)
    monkeypatch.setattr(writer, "_keep_writing", lambda: gate.wait(30) and ExposureWriter._keep_writing(writer))
    for number in range(5):
        assignment = assign(experiment, f"u{number}")
        writer.add("lamps", assignment.exposure(f"r{number}", "release:lamps/1", ["rose"]))
    gate.set()
    writer.close()
    assert [own["recommendation_id"] for own in logged(shop)] == ["r0", "r1"]
    assert 'hubspoke_exposures_lost_total{domain="lamps"} 3.0' in metrics.exposition().decode()
