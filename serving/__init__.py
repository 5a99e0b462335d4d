"""The HTTP service over a workspace: recommendations of the releases that aliases point at, swapped without a pause."""

from __future__ import annotations

from ..errors import MissingExtraError


def require_extra() -> None:
    """A MissingExtraError where what the service is made of is not installed."""
    try:
        import fastapi
        import prometheus_client
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            f"The service needs {error.name}; install it with `pip install 'hubspoke[serve]'`."
        ) from error
    _ = fastapi, prometheus_client, uvicorn
