import torch
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.hub.parts import hub_parts, weights_part


def test_a_hub_is_its_encoders_and_its_fusion():
    hub = Hub(HubConfig.model_validate({"text": {"name": "tiny"}, "image": {"name": "tiny"}}), device="cpu")
    parts = hub_parts(hub)
    assert [part.name for part in parts] == ["text encoder", "image encoder", "fusion"]
    assert [part.parameters for part in parts] == [None, None, sum(p.numel() for p in hub.fusion.parameters())]
    assert parts[0].fingerprint == hub.encoder_fingerprints["text"]
    # Names and shapes count beside the numbers.
    flat = weights_part("a", {"w": torch.zeros(4)})
    assert (flat.bytes, flat.parameters) == (16, 4)
    assert flat.fingerprint == weights_part("b", {"w": torch.zeros(4)}).fingerprint
    assert flat.fingerprint != weights_part("a", {"w": torch.zeros(2, 2)}).fingerprint
    assert flat.fingerprint != weights_part("a", {"v": torch.zeros(4)}).fingerprint
