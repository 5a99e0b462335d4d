"""Faults of remote artifact stores (drivers, networks, clouds) put into one sentence with the remedy.

The only place that reads their names and words; no driver is imported for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import HubspokeError, MissingExtraError, UsageError

# Names of exception classes of botocore, aiobotocore, google-auth and gcsfs, and words of their messages.
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
}
_NO_CREDENTIALS_WORDS = ("credentials", "anonymous caller", "token has expired", "expiredtoken")
_NO_BUCKET_WORDS = ("bucket does not exist", "nosuchbucket", "no such bucket", "container does not exist")
_UNREACHABLE = {
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ProxyConnectionError",
    "SSLError",
    "FSTimeoutError",
    "ClientConnectorError",
    "ConnectionError",
    "ConnectionRefusedError",
    "TimeoutError",
    "gaierror",
}
_DENIED_WORDS = ("access denied", "forbidden", "invalidaccesskeyid", "signaturedoesnotmatch", "access key id")
_DRIVERS = ("botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "fsspec", "adlfs", "azure")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def missing_driver(url: str, error: ImportError) -> MissingExtraError:
    """The error of a URL whose driver is not installed."""
    extra = _EXTRAS.get(url.split("://")[0])
    if extra is not None:
        return MissingExtraError(
            f"The driver of {url} is not installed; install it with `pip install 'hubspoke[{extra}]'`."
        )
    return MissingExtraError(
        f"The driver of {url} is not installed ({_first_line(error)}); install the package that it names."
    )


def unknown_protocol(url: str) -> UsageError:
    """The error of a URL of a kind that fsspec does not know."""
    return UsageError(
        f"Artifacts cannot lie at {url}, whose kind {url.split('://')[0]!r} is unknown; set a folder, "
        "s3://bucket/prefix, gs://bucket/prefix or another fsspec URL."
    )


def remote_fault(error: Exception, where: str) -> HubspokeError | None:
    """A driver's error as one of ours, None where it is no driver's; `where` is the store's URL."""
    if isinstance(error, OSError) and error.filename is not None:
        return None  # a file of this machine
    names = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
    text = _words(error)
    if isinstance(error, FileNotFoundError) or says_no_bucket(error):
        return HubspokeError(
            f"The bucket or folder of {where} does not exist; create it, or set HUBSPOKE_ARTIFACTS to another."
        )
    # Asked before credentials: a refusal may speak of them too.
    if isinstance(error, PermissionError) or _has(text, _DENIED_WORDS):
        return HubspokeError(
            f"Access to {where} is denied ({_first_line(error)}); give these credentials the right to list, read, "
            "write and delete there."
        )
    if names & _NO_CREDENTIALS or _has(text, _NO_CREDENTIALS_WORDS):
        return HubspokeError(
            f"There are no valid credentials for {where} ({_first_line(error)}); set those that its driver reads, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile."
        )
    if names & _UNREACHABLE or "invalid endpoint" in text:
        return HubspokeError(
            f"{where} cannot be reached ({_first_line(error)}); check the network and the endpoint, "
            "such as AWS_ENDPOINT_URL."
        )
    if isinstance(error, OSError | NotImplementedError) or type(error).__module__.split(".")[0] in _DRIVERS:
        told = _first_line(error)
        return HubspokeError(f"{where} refused ({told}); check that it can be listed, read and written.")
    return None


@contextmanager
def remote_faults(where: str) -> Iterator[None]:
    """Translate what the driver raises inside the block."""
    try:
        yield
    except HubspokeError:
        raise
    except Exception as error:
        known = remote_fault(error, where)
        if known is None:
            raise
        raise known from error


def says_no_bucket(error: Exception) -> bool:
    """Whether a driver's error means that the whole store is missing, not one object of it."""
    return _has(_words(error), _NO_BUCKET_WORDS)


def _words(error: BaseException) -> str:
    return " ".join(_first_line(link) for link in _chain(error)).lower()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
