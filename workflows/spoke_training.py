"""How a spoke is trained: behaviour beside its floor, chosen on validation, refitted if asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .progress import stage_progress

if TYPE_CHECKING:
    from ..catalog.sequences import SequenceSource
    from ..hub.calibration import FloatArray
    from ..hub.content import ContentSpace
    from ..hub.fusion import TrunkVectors
    from ..hub.model import Hub
    from ..spokes.behaviour import BehaviourModel, ItemInputs
    from ..spokes.config import SpokeConfig
    from ..spokes.mixture import Mixture, PartScores
    from ..spokes.spoke import Behaviour, Spoke
    from ..spokes.training import TrainingRun
    from .datasets import Dataset
    from .measures import Validation
    from .splits import SplitParts
    from .workspace import Workspace


class SpokeBuilder:
    """Trains behavioural parts of one spoke and puts them beside its floor."""

    def __init__(
        self,
        ws: Workspace,
        hub: Hub,
        config: SpokeConfig,
        dataset: Dataset,
        trunk: TrunkVectors,
        space: ContentSpace,
        kept: Path,
    ) -> None:
        from ..spokes.spoke import floor_settings

        self._ws = ws
        self._hub = hub
        self._config = config
        self._dataset = dataset
        self._item_ids = dataset.items["item_id"].to_list()
        self._trunk = trunk
        self._space = space
        self._content = space.embed(hub.fusion.fuse(trunk))
        self._floor = floor_settings(hub.config)
        self._kept = kept

    def choose(self, parts: SplitParts) -> tuple[Spoke, TrainingRun]:
        """Train with early stopping on validation, then choose the mixture there."""
        from ..spokes.checkpoints import Checkpoints
        from ..spokes.mixture import choose_floor, probe
        from ..spokes.training import train_behaviour

        checked = parts.validation
        content = {recency: self._content_scores(checked, *recency) for recency in self._recencies()}
        measure = checked.measure(checked.filter_seen)
        settings = choose_floor(content, measure, self._floor)
        floor = content[settings.recency_decay, settings.recent_events]
        behaviour = self._behaviour(parts.train, parts.until)
        inputs = behaviour.inputs(self._item_ids, self._trunk, self._dataset.items)
        run = train_behaviour(
            behaviour.model,
            inputs,
            parts.train,
            self._config,
            validate=lambda model: probe(
                replace(floor, behaviour=_scores(model, inputs, checked)), measure, settings.image_share
            ),
            progress=stage_progress(self._ws.progress, "training the spoke"),
            checkpoints=Checkpoints(self._kept / "choice"),
        )
        mixture = self._mixture(content, _scores(behaviour.model, inputs, checked), behaviour, checked)
        return self._spoke(behaviour, mixture), run

    def refit(self, spoke: Spoke, parts: SplitParts, epochs: int) -> Spoke:
        """Train from scratch on training and validation events together, for the epochs chosen before."""
        from ..spokes.checkpoints import Checkpoints
        from ..spokes.training import train_behaviour

        behaviour = self._behaviour(parts.refit, parts.until)
        train_behaviour(
            behaviour.model,
            behaviour.inputs(self._item_ids, self._trunk, self._dataset.items),
            parts.refit,
            self._config,
            epochs=epochs,
            progress=stage_progress(self._ws.progress, "refitting the spoke"),
            checkpoints=Checkpoints(self._kept / "refit"),
        )
        return self._spoke(behaviour, spoke.mixture)

    def _behaviour(self, sequences: SequenceSource, until: int | None) -> Behaviour:
        from ..hub.devices import pick_device, seed_everything
        from ..spokes.behaviour import BehaviourModel
        from ..spokes.memory import refuse_beyond_device
        from ..spokes.spoke import Behaviour
        from ..spokes.trunks import adapt_trunks
        from .features import fit_features

        counts = sequences.item_counts()
        frequent = np.flatnonzero(counts >= self._config.min_item_count)
        known = tuple(self._item_ids[row] for row in frequent)
        features = fit_features(self._ws, self._dataset, self._config, sequences, until)
        device, fusion = pick_device(self._ws.settings.device), self._hub.fusion
        columns = fusion.down.in_features + fusion.down.out_features + 2 * self._space.dimension
        refuse_beyond_device(self._config, len(known), len(self._item_ids), columns, device)
        seed_everything(self._config.seed)
        model = BehaviourModel(
            self._config, fusion, self._space, len(known), features, adapt_trunks(self._hub, self._config)
        )
        model = model.to(device)
        if self._config.id_dropout_events:
            model.lean_on_events(counts[frequent])
        return Behaviour(self._config, model, known, features)

    def _spoke(self, behaviour: Behaviour | None, mixture: Mixture) -> Spoke:
        from ..spokes.spoke import Spoke

        hub = self._hub
        return Spoke(hub.fusion, hub.fingerprint, self._space, behaviour, mixture)

    def _recencies(self) -> tuple[tuple[float, int], ...]:
        from ..spokes.mixture import RECENCIES

        return tuple(dict.fromkeys([(self._floor.recency_decay, self._floor.recent_events), *RECENCIES]))

    def _content_scores(self, checked: Validation, decay: float, events: int) -> PartScores:
        from ..hub.content import recency_weighted
        from ..spokes.mixture import PartScores

        queries = recency_weighted(self._content, checked.histories, decay, events)
        split = self._space.text_rank
        text = queries[:, :split] @ self._content[:, :split].T if split else None
        image = queries[:, split:] @ self._content[:, split:].T if self._space.image_rank else None
        return PartScores(None, text, image)

    def _mixture(
        self,
        content: Mapping[tuple[float, int], PartScores],
        scores: FloatArray,
        behaviour: Behaviour,
        checked: Validation,
    ) -> Mixture:
        from ..spokes.mixture import Mixture, choose_floor, choose_weights
        from ..spokes.spoke import UNKNOWN_ID_ROW, id_rows

        cold = id_rows(self._item_ids, behaviour.known_items) == UNKNOWN_ID_ROW
        # A bonus for items that nothing tells apart would place all of them at once.
        cold &= self._config.tells_new_items_apart
        targets = np.array([target[0] for target in checked.users.targets])
        chosen = {}
        for filtered in (False, True):
            measure = checked.measure(filtered)
            settings = choose_floor(content, measure, self._floor)
            floor = content[settings.recency_decay, settings.recent_events]
            chosen[filtered] = choose_weights(replace(floor, behaviour=scores), measure, settings, cold, targets)
        return Mixture(seen_ranked=chosen[False], seen_filtered=chosen[True])


def _scores(model: BehaviourModel, inputs: ItemInputs, checked: Validation) -> FloatArray:
    """(U, N) scores of the validation users by behaviour alone."""
    vectors = model.item_vectors(inputs)
    scores: FloatArray = model.session_vectors(vectors, checked.histories) @ vectors.T
    return scores


def training_summary(spoke: Spoke, run: TrainingRun, parts: SplitParts, seen: SequenceSource) -> dict[str, Any]:
    """What a training found, for the version's record."""
    from ..spokes.regimes import regime_of

    behaviour = spoke.behaviour
    model = behaviour.model if behaviour else None
    return {
        "regime": regime_of(parts.train).name,
        "epochs": run.best_epoch,
        "validation_ndcg@10": round(run.best_score, 5),
        "validation_users": len(parts.validation.users),
        "validation_filters_seen": parts.validation.filter_seen,
        "mixture": spoke.mixture.model_dump(),
        "windows_per_second": round(run.windows_per_second),
        "history": list(run.history),
        "training_events": seen.n_events,
        "training_users": seen.n_users,
        "training_end": seen.newest,
        "items_with_id": len(behaviour.known_items) if behaviour else 0,
        "dimension": spoke.dimension,
        "parameters": {
            "trained": sum(p.numel() for p in model.parameters() if p.requires_grad) if model else 0,
            "ids": model.ids.weight.numel() if model else 0,
        },
    }
