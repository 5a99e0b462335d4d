"""Every error is a problem of RFC 9457 with a status of its kind; what is about this machine stays in the log."""

import json
import logging

import pytest
from fastapi.testclient import TestClient
from hubspoke import errors
from hubspoke.serving.problems import STATUS, invalid, problem_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError, 400),
        (errors.NotFoundError, 404),
        (errors.QualityGateError, 409),
        (errors.IncompatibleError, 409),
        (errors.LockedError, 409),
        (errors.InvalidDataError, 422),
        (errors.CorruptArtifactError, 503),
        (errors.SchemaVersionError, 503),
        (errors.MissingExtraError, 503),
        (errors.HubspokeError, 503),
        (errors.ProcessLostError, 503),
    ],
)
def test_the_status_goes_by_the_kind_of_error_and_only_the_log_is_told_of_this_machine(error, status, caplog) -> None:
    sentence = "The database 10.0.0.7 cannot be reached; check it."
    with caplog.at_level(logging.ERROR, "hubspoke.serving"):
        found = problem_of(error(sentence)).to_dict()
    assert (found["status"], found["error"], found["exit_code"]) == (status, error.__name__, error.exit_code)
    assert (found["detail"] == sentence) is (status < 500) is (sentence not in caplog.text)
    assert set(STATUS.values()) <= {400, 404, 409, 422, 503}


def test_what_nobody_foresaw_is_a_500_with_its_traceback_in_the_log_alone(caplog) -> None:
    with caplog.at_level(logging.ERROR, "hubspoke.serving"):
        found = problem_of(ZeroDivisionError("secret"))
    assert (found.status, "secret" in json.dumps(found.to_dict()), "secret" in caplog.text) == (500, False, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nowhere", 404, "/docs lists every route"),
        ("GET", "/v1/domains/lamps/recommend", 405, "takes another method"),
        ("POST", "/v1/domains/pets/recommend", 404, "pets@live points at no release"),
        ("GET", "/v1/domains/pets", 404, "GET /v1/domains lists"),
        ("GET", "/v1/domains/lamps/items/nothing/similar", 404, "'nothing' is not in index:lamps/1"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_problem_too(client: TestClient, method, path, status, words) -> None:
    answer = client.request(method, path, json={} if method == "POST" else None)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert (found["type"], found["status"]) == ("about:blank", status) and words in found["detail"]
    assert len(answer.headers["x-request-id"]) == 16


def test_what_was_sent_is_not_repeated_in_a_problem(client: TestClient) -> None:
    answer = client.post("/v1/domains/lamps/recommend", json={"user": {"name": "ann@example.org"}})
    assert answer.status_code == 422 and "ann@example.org" not in answer.text
    broken = client.post(
        "/v1/domains/lamps/recommend", content=b'{"user": "ann', headers={"content-type": "application/json"}
    )
    assert broken.status_code == 422 and "ann" not in broken.text


def test_a_wrong_type_is_told_in_the_words_of_json() -> None:
    told = [
        ("Input should be a valid tuple", "Input should be a list"),
        ("Input should be a valid dictionary or object to extract fields from", "Input should be an object"),
        ("Value error, session and user were given", "session and user were given"),
        ("Tuple should have at least 1 item", "The list should have at least 1 item"),
    ]
    for message, words in told:
        found = invalid([{"loc": ("body", "session"), "msg": message}]).to_dict()
        assert found["detail"] == f"body/session: {words}; correct the request."
