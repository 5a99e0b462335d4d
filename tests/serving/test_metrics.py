"""Metrics of several processes are counted together where Prometheus's folder for them is set."""

import os
import subprocess
import sys
from pathlib import Path

COUNT = """
import os
from hubspoke.serving.metrics import Metrics
metrics = Metrics()
metrics.requests.labels("/v1", "lamps", "200").inc()
metrics.seconds.labels("/v1", "lamps").observe(0.004)
print(metrics.exposition().decode())
"""
COUNTED = 'hubspoke_requests_total{domain="lamps",route="/v1",status="200"}'


def counted(**environment: str) -> str:
    command = [sys.executable, "-c", COUNT]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout


def test_each_process_counts_for_itself_or_all_of_them_together(tmp_path: Path) -> None:
    assert f"{COUNTED} 1.0" in counted() and f"{COUNTED} 1.0" in counted()
    together = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    counted(**together)
    found = counted(**together)
    assert f"{COUNTED} 2.0" in found
    assert 'hubspoke_request_seconds_bucket{domain="lamps",le="0.005",route="/v1"} 2.0' in found
