"""Public data sets by name: logs, published splits, item titles, and a list of them all."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import pandas as pd

from data import amazon, completejourney, gowalla, graphs, movielens, movietweetings, yelp2018
from data.finding import Place, place, table
from data.recipe import Graph, Recipe
from recsys.interactions import Interactions

if TYPE_CHECKING:
    from kg.triples import Triples

FAMILIES = (completejourney, movielens, movietweetings, gowalla, yelp2018, amazon, graphs)
RECIPES: dict[str, Recipe | Graph] = {
    recipe.name: recipe for family in FAMILIES for recipe in family.RECIPES
}


INSTEAD = {  # kind -> what such a data set is, and what to ask for
    "log": "one log without a published split; use data.log({!r}) and one of its splits, such as "
    "split_by_time(0.9)",
    "split": "published as a split; use data.split({!r})",
    "graph": "a knowledge graph; use data.graph({!r})",
}


def log(name: str) -> Interactions:
    """The whole log of a data set, with its times and weights where it has them.

    Raises:
        KeyError: If there is no data set of that name.
        ValueError: If it is published as a split, or is a graph.
        MissingDataError: If it is neither here nor to be had; the message says what to do.
    """
    recipe = _recipe(name, "log")
    assert isinstance(recipe, Recipe)
    frame = table(recipe, "interactions").to_pandas()
    time = next((column for column in recipe.time if column in frame), None)
    weight = recipe.weight if recipe.weight in frame else None
    return Interactions.from_frame(frame, time=time, weight=weight)


def split(name: str) -> tuple[Interactions, Interactions]:
    """The published train and test parts of a data set.

    Raises:
        KeyError: If there is no data set of that name.
        ValueError: If it is published as one log, or is a graph.
        MissingDataError: If it is neither here nor to be had; the message says what to do.
    """
    recipe = _recipe(name, "split")
    train, test = (Interactions.from_frame(table(recipe, p).to_pandas()) for p in recipe.parts)
    return train, test


def graph(name: str) -> tuple[Triples, Triples, Triples]:
    """The published train, validation and test facts, on the vocabulary of them all.

    Raises:
        KeyError: If there is no data set of that name.
        ValueError: If it is no knowledge graph.
        MissingDataError: If it is neither here nor to be had; the message says what to do.
    """
    from kg.triples import Triples

    recipe = _recipe(name, "graph")
    train, valid, test = Triples.align(
        *(Triples.from_frame(table(recipe, p).to_pandas()) for p in recipe.parts)
    )
    return train, valid, test


def items(name: str) -> pd.DataFrame:
    """What is known about the items of a data set: item, title, and more where there is more.

    Raises:
        KeyError: If there is no data set of that name.
        MissingDataError: If the data set says nothing about its items, or is not to be had.
    """
    return _about(name, "items")


def entities(name: str) -> pd.DataFrame:
    """What is known about the entities of a graph: entity, and label or synset.

    Raises:
        KeyError: If there is no data set of that name.
        MissingDataError: If the data set says nothing about its entities, or is not to be had.
    """
    return _about(name, "entities")


def relations(name: str) -> pd.DataFrame:
    """What is known about the relations of a graph: relation, label, description.

    Raises:
        KeyError: If there is no data set of that name.
        MissingDataError: If the data set says nothing about its relations, or is not to be had.
    """
    return _about(name, "relations")


def _about(name: str, what: str) -> pd.DataFrame:
    recipe = _recipe(name)
    if recipe.package is None:
        # makes sure that the data set is here before asking for a table that it may not have
        table(recipe, recipe.parts[0])
    return table(recipe, what).to_pandas()


def describe() -> list[dict[str, Any]]:
    """Every data set as a plain dict: sizes, licence, publisher, note, and where it is now."""
    rows = []
    for recipe in RECIPES.values():
        found = place(recipe)
        rows.append(
            {
                "name": recipe.name,
                "kind": recipe.kind,
                **recipe.sizes,
                "where": found.kind,
                "folder": None if found.folder is None else str(found.folder),
                "licence": recipe.licence,
                "publisher": recipe.publisher,
                "note": recipe.note,
            }
        )
    return rows


def fetch(name: str) -> Place:
    """Where a data set is, downloaded first, with a progress bar, where it is not here yet.

    Raises:
        KeyError: If there is no data set of that name.
        MissingDataError: If it is neither here nor to be had; the message says what to do.
    """
    recipe = _recipe(name)
    table(recipe, recipe.parts[0])
    return place(recipe)


def _recipe(name: str, kind: str | None = None) -> Recipe | Graph:
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise KeyError(f"no data set {name!r}{meant} There are: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if kind not in (None, recipe.kind):
        raise ValueError(f"{name} is {INSTEAD[recipe.kind].format(name)}")
    return recipe
