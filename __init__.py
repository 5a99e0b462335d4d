"""hubspoke: launch new product categories with recommendation-grade embeddings."""

from __future__ import annotations

__version__ = "0.1.0"
