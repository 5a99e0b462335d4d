"""Exposures: which list an experiment showed to whom, and with what probability; logged by services, read at once."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from .line_log import read_pieces
from .shopper_events import logged_time

Arm = Literal["control", "candidate"]
ARMS: tuple[Arm, ...] = ("control", "candidate")
EXPOSURE_SCHEMA: dict[str, pl.DataType] = {
    "recommendation_id": pl.String(),
    "at": pl.Datetime("us", "UTC"),
    "experiment": pl.String(),
    "shopper": pl.String(),
    "arm": pl.String(),
    "propensity": pl.Float64(),
    "release": pl.String(),
    "items": pl.List(pl.String()),
}
# What a line holds, before times and numbers are made of texts: a wrong one of them is one damaged line.
_READ = EXPOSURE_SCHEMA | {"at": pl.String(), "propensity": pl.String()}


class Exposure(BaseModel):
    """One list that was shown as part of an experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recommendation_id: str
    at: AwareDatetime
    experiment: str  # its reference
    shopper: str
    arm: Arm
    propensity: float = Field(gt=0, le=1)  # the probability of this arm for this shopper
    release: str  # that made the list, which may not be that of the arm
    items: tuple[str, ...]  # ids in their order

    @field_validator("at")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.astimezone(UTC)

    def line(self) -> bytes:
        """The exposure as one line of UTF-8 JSON."""
        return self.model_dump_json().encode() + b"\n"


@dataclass(frozen=True)
class ExposureLog:
    """The exposures of a category as they were read."""

    exposures: pl.DataFrame  # in `EXPOSURE_SCHEMA`, those of one process in their order
    damaged: int  # lines that are no exposure


def read_exposures(folder: Path) -> ExposureLog:
    """All that is logged in a folder, also what is being written; one that does not exist holds nothing."""
    frames, damaged = [pl.DataFrame(schema=EXPOSURE_SCHEMA)], 0
    for _, content in read_pieces(folder):
        frame = _parsed(content)
        frames.append(frame)
        damaged += content.count(b"\n") - frame.height
    return ExposureLog(pl.concat(frames), damaged)


def _parsed(content: bytes) -> pl.DataFrame:
    """The sound ones of some lines."""
    try:
        read = pl.read_ndjson(io.BytesIO(content), schema=_READ)
    except pl.exceptions.ComputeError:  # one that is no JSON, or no text, hides the others
        read = pl.read_ndjson(io.BytesIO(_sound(content)), schema=_READ)
    return read.with_columns(logged_time("at"), pl.col("propensity").cast(pl.Float64, strict=False)).filter(
        pl.all_horizontal(pl.all().is_not_null()),
        pl.col("arm").is_in(ARMS),
        (pl.col("propensity") > 0) & (pl.col("propensity") <= 1),
    )


def _sound(content: bytes) -> bytes:
    """The lines that are exposures, looked at one by one."""
    found = []
    for line in content.split(b"\n"):
        try:
            found.append(Exposure.model_validate_json(line).line())
        except ValueError:  # pydantic's own is one
            continue
    return b"".join(found)
