"""A service that answers shoppers, live ones too, never loads torch: half a gigabyte and seconds of its start."""

import os
import subprocess
import sys

from hubspoke.workflows.workspace import Workspace

PROGRAM = """
import sys
from datetime import UTC, datetime
import hubspoke
from fastapi.testclient import TestClient
from hubspoke.serving.app import create_app
from hubspoke.serving.service import Service
from hubspoke.serving.settings import ServeSettings

with hubspoke.open() as ws, TestClient(create_app(Service(ws, ServeSettings()))) as client:
    item = client.post("/v1/domains/lamps/recommend", json={}).json()["items"][0]["item_id"]
    event = {"event_id": "1", "user_id": "ann", "item_id": item, "event_type": "view"}
    event["timestamp"] = datetime.now(UTC).isoformat()
    assert client.post("/v1/domains/lamps/events", json=event).status_code == 202
    for body in ({"session": [item]}, {"user": "ann"}, {"session": [item], "diversity": 0.4}):
        answer = client.post("/v1/domains/lamps/recommend", json=body).json()
        assert answer["served_by"] == "lamps:1", answer
    assert client.get(f"/v1/domains/lamps/items/{item}/similar").status_code == 200
    assert client.post("/v1/domains/lamps/rank", json={"session": [item], "items": [item]}).status_code == 200
print([name for name in ("torch", "transformers", "peft", "open_clip") if name in sys.modules])
"""


def test_shoppers_are_answered_without_torch(shop: Workspace) -> None:
    environ = {**os.environ, "HUBSPOKE_WORKSPACE": str(shop.settings.workspace)}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environ)
    assert (ended.returncode, ended.stdout) == (0, "[]\n"), ended.stderr
