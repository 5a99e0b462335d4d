"""Hub versions: train a base fusion on the union of the catalogs, keep it only where it helps categories unseen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..door import checked
from ..errors import NotFoundError, UsageError
from ..progress import Progress
from ..registry.kinds import ModelKind, with_article
from ..registry.records import ModelRecord
from ..results import Record, fingerprint
from . import releases
from .loading import encode_items, load_hub, ready_model
from .models import FOLLOWED, ModelResult, Recipe, parse_config, prepare, train_once

if TYPE_CHECKING:
    from ..hub.config import HubConfig
    from ..hub.distributed import World
    from .context import Context

LIVE_HUB = "hub@live"


@dataclass(frozen=True)
class EmbedResult(Record):
    """A catalog run through a hub's encoders."""

    domain: str
    hub: str  # hub version
    items: str  # item snapshot
    n_items: int
    with_text: int  # items that have text
    with_image: int  # items that have a picture
    dimension: int  # columns of a content embedding
    seconds: float  # next to nothing where every encoder output was cached


@checked
class Hubs:
    """The noun `hub`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> list[ModelRecord]:
        """Every hub version, oldest first."""
        return self._context.registry.models.list(ModelKind.HUB)

    def show(self, ref: str = LIVE_HUB) -> ModelRecord:
        """One hub version."""
        record = self._context.registry.models.get(ref)
        if record.kind != ModelKind.HUB:
            raise UsageError(f"{ref} is {with_article(record.kind)}; name a hub like hub:1.")
        return record

    def train(
        self,
        domains: Sequence[str] | None = None,
        held_out: str | None = None,
        preset: str = "balanced",
        config: Mapping[str, Any] | None = None,
        steps: int | None = None,
        force: bool = False,
        dry_run: bool = False,
        promote: bool = False,
        from_scratch: bool = False,
        parent: str | None = None,
    ) -> ModelResult:
        """Train a hub on the union of the domains' catalogs and sessions, once for the same inputs and config.

        The share of the trained fusion that is kept is chosen on categories that the training has not seen: each domain
        in turn is held out (or `held_out` alone, which then stays out for good), and 0 is among the candidates.

        Args:
            domains: by default every active domain that has items; an empty list makes an untrained hub.
            held_out: judge on this domain only, and leave it out of the final training.
            preset: `fast`, `balanced` or `best`: how much is spent on a product.
            config: keys of `HubConfig`, over the preset's; `steps` overrides its contrastive steps.
            force: train again even if the same inputs and config made a hub before.
            promote: make it live even where another hub is.
            from_scratch: train encoders of the hub's own, on nothing but these domains; `config` goes over
                `hub.config.FROM_SCRATCH`.
            parent: hub version whose weights are trained on, and whose config `config` is laid over; what is kept of
                the training is judged against it.
        """
        from ..hub.distributed import joined
        from .hub_training import follow_hub

        with joined(self._context.settings.device) as world:
            if not world.leads:
                self._context.progress = Progress()
                while (job := world.broadcast(None)) is not None:
                    follow_hub(self._context, job, world)
                return ModelResult(None, None, False, FOLLOWED, 0.0, {})
            start = ready_model(self._context, parent, ModelKind.HUB) if parent else None
            hub_config = self._config(preset, config, steps, from_scratch, start)
            result = self._train(hub_config, domains, held_out, world, start, force=force, dry_run=dry_run)
            world.broadcast(None)  # nothing is left to train along with
        if result.ref and not dry_run and (promote or not self.live()):
            releases.promote(self._context, result.ref, reason="newly trained" if promote else "first hub")
        return result

    def _config(
        self,
        preset: str = "balanced",
        config: Mapping[str, Any] | None = None,
        steps: int | None = None,
        from_scratch: bool = False,
        parent: ModelRecord | None = None,
    ) -> HubConfig:
        """Given settings over those of a preset, of a training from scratch, or of a parent."""
        from ..hub.config import FROM_SCRATCH, HubConfig, Preset
        from ..spokes.regimes import deep_merge

        if preset not in list(Preset):
            raise UsageError(f"There is no preset {preset!r}; name one of: {', '.join(Preset)}.")
        if from_scratch and preset != Preset.BALANCED:
            raise UsageError(
                f"A hub from scratch has encoders of its own, not those of {preset!r}; name one of the two."
            )
        if parent and (from_scratch or preset != Preset.BALANCED):
            raise UsageError(
                "A hub from a parent has the parent's encoders; leave --preset, --from-scratch or --from out."
            )
        base: Mapping[str, Any] = FROM_SCRATCH if from_scratch else {} if parent else Preset(preset).settings
        settings = deep_merge({"seed": self._context.settings.seed, **base}, config or {})
        if steps is not None:
            settings["contrastive"] = {**settings.get("contrastive", {}), "steps": steps}
        return _config_from(parent, settings) if parent else parse_config(HubConfig, settings, "hub")

    def _train(
        self,
        config: HubConfig,
        domains: Sequence[str] | None,
        held_out: str | None,
        world: World | None = None,
        start: ModelRecord | None = None,
        **options: bool,
    ) -> ModelResult:
        """As `train`, in the first process of a world."""
        from .datasets import load_dataset
        from .hub_training import train_hub

        context = self._context
        if domains is None:
            domains = [own.name for own in context.registry.domains.list() if own.counts.item_snapshots]
        named = [*domains, held_out] if held_out is not None else domains
        datasets = [load_dataset(context, name) for name in dict.fromkeys(named)]
        made_of = [
            {
                "items": dataset.item_snapshot.content_hash,
                "events": dataset.event_snapshot.content_hash if dataset.event_snapshot else None,
                "sessions": dict(dataset.domain.settings.get("sessions", {})),
            }
            for dataset in datasets
        ]
        inputs: dict[str, Any] = {"domains": made_of, "held_out": held_out}
        if start:
            inputs["parent"] = start.artifact
        recipe = Recipe(ModelKind.HUB, None, config.model_dump(mode="json"), inputs, config.seed)
        checkpoints = context.cache_dir / "training" / fingerprint(["hub", recipe.fingerprint])
        begun = start.ref if start else None
        return train_once(
            context,
            recipe,
            lambda: train_hub(context, config, datasets, held_out, checkpoints, begun, world),
            checkpoints=checkpoints,
            **options,
        )

    def ensure(self) -> str:
        """The live hub's reference; where there is none, an untrained one is made from the packaged weights."""
        if live := self.live():
            return live
        self._context.progress.note("no hub yet: making an untrained one from the packaged encoders")
        # Alone: whoever asks may have its own use for other processes.
        made = self._train(self._config(), [], None, force=False, dry_run=False)
        releases.promote(self._context, str(made.ref), reason="first hub")
        return str(made.ref)

    def embed(self, domain: str, hub: str = LIVE_HUB, items: str | None = None) -> EmbedResult:
        """Run a catalog through a hub's encoders, so that whatever comes next finds their outputs in the cache."""
        from ..hub.content import fit_content_space
        from .datasets import load_dataset

        prepare(self._context)
        started = time.perf_counter()
        dataset = load_dataset(self._context, domain, items=items, with_events=False)
        loaded, record = load_hub(self._context, self.ensure() if hub == LIVE_HUB else hub)
        encoded = encode_items(self._context, loaded, dataset)
        space = fit_content_space(loaded.fusion.fuse(encoded), loaded.config)
        return EmbedResult(
            domain=domain,
            hub=record.ref,
            items=dataset.item_snapshot.ref,
            n_items=len(encoded),
            with_text=int(encoded.has_text.sum()),
            with_image=int(encoded.has_image.sum()),
            dimension=space.dimension,
            seconds=round(time.perf_counter() - started, 2),
        )

    def live(self) -> str | None:
        """The live hub's reference, None where there is none yet."""
        try:
            return self._context.registry.resolve(LIVE_HUB).ref
        except NotFoundError:
            return None


def _config_from(parent: ModelRecord, settings: Mapping[str, Any]) -> HubConfig:
    """The parent's config with some settings laid over it, none of which may change what its weights mean."""
    from ..hub.config import HubConfig
    from ..hub.warm_start import require_same_shapes
    from ..spokes.regimes import deep_merge

    before = HubConfig.from_stored(parent.config)
    config = parse_config(HubConfig, deep_merge(before.model_dump(mode="json"), settings), "hub")
    require_same_shapes(config, before, parent.ref)
    return config
