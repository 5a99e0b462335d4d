"""An index with what answers a shopper beside it: no torch, no hub, until somebody asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..registry.kinds import ModelKind
from ..spokes.sessions import SessionSide
from .index_loading import FLOOR_FOLDER, read_index
from .loading import ready_model

if TYPE_CHECKING:
    from ..registry.records import IndexRecord
    from ..retrieval.base import ItemIndex
    from .context import Context


@dataclass(frozen=True)
class ServedIndex:
    """An index and the session side of the spoke (or launch floor) that filled it."""

    record: IndexRecord
    index: ItemIndex
    sessions: SessionSide


def open_index(context: Context, record: IndexRecord) -> ServedIndex:
    """An index ready to answer, refused where it holds vectors of another embedding space than its spoke speaks.

    Every file is checked against its hash; that the weights are those of the space was found out when the index was
    built, and `index check` finds it out again.
    """
    folder, index = read_index(context, record)
    model = context.registry.models.get(record.model)
    index.require_space(record.space_fingerprint)
    if model.kind == ModelKind.HUB:
        return ServedIndex(record, index, SessionSide.load(folder / FLOOR_FOLDER))
    index.require_space(str(model.space_fingerprint))
    spoke = ready_model(context, model.ref, ModelKind.SPOKE)
    return ServedIndex(record, index, SessionSide.load(context.artifacts.open(str(spoke.artifact))))
