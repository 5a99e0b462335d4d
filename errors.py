"""Every error this package raises on purpose: one tree, one exit code per branch.

HubspokeError                     1  failed
├── UsageError                    2  the request contradicts itself
├── QualityGateError              3  a quality gate was not met
├── InvalidDataError              4  data from outside cannot be used as it is
│   └── CorruptArtifactError      4  stored bytes no longer match their checksum
├── NotFoundError                 5  a name or reference points at nothing
├── IncompatibleError             6  parts of different embedding spaces, artifacts of another registry
│   └── SchemaVersionError        6  the registry is older or newer than this code
├── MissingExtraError             7  an optional package is not installed
└── LockedError                   8  another process holds what this one needs

Each message is one sentence that ends in the remedy. 130 (interrupted) is the command line's own.
"""

from __future__ import annotations


class HubspokeError(Exception):
    """Base of every error raised on purpose; `exit_code` is the process exit code of the command line."""

    exit_code: int = 1


class UsageError(HubspokeError):
    """The request contradicts itself or the state it is asked of."""

    exit_code = 2


class QualityGateError(HubspokeError):
    """A quality gate was not met."""

    exit_code = 3


class InvalidDataError(HubspokeError):
    """Data from outside (file, column, picture, setting) cannot be used as it is."""

    exit_code = 4


class CorruptArtifactError(InvalidDataError):
    """Stored bytes no longer match their checksum."""


class NotFoundError(HubspokeError):
    """A name or reference points at nothing."""

    exit_code = 5


class IncompatibleError(HubspokeError):
    """Parts that do not belong together: of different embedding spaces, or a registry and another's artifacts."""

    exit_code = 6


class SchemaVersionError(IncompatibleError):
    """The registry's schema is older or newer than this code."""


class MissingExtraError(HubspokeError):
    """An optional package is not installed."""

    exit_code = 7


class LockedError(HubspokeError):
    """Another process holds what this one needs."""

    exit_code = 8


class ProcessLostError(HubspokeError):
    """Another process of a training by several is gone, or does not come along."""
