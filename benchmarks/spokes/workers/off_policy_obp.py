"""IPS, SNIPS and DR of Open Bandit Pipeline on a log from a file, as JSON; runs in a venv of its own."""

import json
import sys
from importlib.metadata import version

import numpy as np
from obp.ope import DoublyRobust, InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting


def main() -> None:
    """Estimate from the file that is named."""
    log = np.load(sys.argv[1])
    rows = {
        "reward": log["rewards"],
        "action": log["shown"],
        "pscore": log["logged"],
        "action_dist": log["target"][:, :, None],  # (R, products, places)
        "position": np.zeros(len(log["shown"]), dtype=np.int64),
    }
    said = log["said"][:, :, None]
    found = {
        "ips": InverseProbabilityWeighting().estimate_policy_value(**rows),
        "snips": SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**rows),
        "dr": DoublyRobust().estimate_policy_value(**rows, estimated_rewards_by_reg_model=said),
    }
    answer = {"values": {name: float(value) for name, value in found.items()}, "versions": {"obp": version("obp")}}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
