"""``python -m demo``: grocery baskets to recommendations, in five steps."""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from demo import groceries, pictures
from demo.groceries import Groceries
from demo.screen import heading, say, step, table
from hyperrank import store
from recsys import EASE, ImplicitALS, Popularity, UltraGCN, compare
from recsys.recommender import Recommender
from recsys.updatable import UpdatableRecommender

SHARE = 0.9  # of the year's purchases; the rest are the last weeks
HOUSEHOLDS = 20  # a product is in the assortment if so many households bought it
METRICS = ["ndcg@20", "recall@20", "precision@20", "coverage@20"]
LISTED = 8  # products shown per household
BEST_SELLERS = 100  # left out of the shown lists: milk and eggs tell nothing about a household


def models() -> dict[str, Recommender]:
    """The models, with settings chosen on a validation part of the weeks before the cut."""
    return {
        "Popularity": Popularity(),
        "EASE": EASE(l2=500.0),
        "implicit ALS": ImplicitALS(dim=32, regularization=10.0),
        "UltraGCN": UltraGCN(dim=32, epochs=20, item_weight=0.0, progress=sys.stderr.isatty()),
    }


def main() -> None:
    """Run the demo; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder to write")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    heading(1, "A year of grocery baskets")
    with step("reading the log, cutting it in time"):
        baskets = groceries.load(SHARE, HOUSEHOLDS)
    describe(baskets)

    heading(2, "Four models, judged on what households bought for the first time afterwards")
    fitted = {}
    for name, model in models().items():
        with step(f"fitting {name}"):
            fitted[name] = model.fit(baskets.before)
    scores = judge(fitted, baskets)

    heading(3, "Recommendations for three households")
    chosen = groceries.followed(baskets)
    model = fitted["UltraGCN"]
    beyond = groceries.beyond_best_sellers(baskets.before, BEST_SELLERS)
    lists = model.recommend(chosen, k=LISTED, candidates=beyond)
    say(f"  new to the household, and not among the {BEST_SELLERS} best sellers")
    show(lists, baskets, chosen)

    heading(4, "The last weeks arrive")
    with step("folding them into UltraGCN, without training it again"):
        later = copy.copy(model)
        assert isinstance(later, UpdatableRecommender)
        report = later.partial_fit(baskets.after)
    say(
        f"  {report.events:,} purchases by {report.users_touched:,} households in "
        f"{sum(report.seconds.values()):.1f} s; {report.overlap:.0%} of their ten best stayed"
    )
    say(f"  verdict: {report.verdict}, since {report.reason}")
    changed = later.recommend(chosen, k=LISTED, candidates=beyond)
    show_changes(lists, changed, baskets, chosen)

    heading(5, "Kept for you")
    with step("saving the model, loading it, asking it again"):
        store.save(later, out / "model")
        again = store.load(out / "model").recommend(chosen, k=LISTED, candidates=beyond)
    same = again.equals(changed)
    say(f"  the loaded model gives {'the same lists' if same else 'OTHER lists: please report it'}")
    with step("drawing two plots"):
        pictures.quality(scores, METRICS[0], out / "quality.png")
        pictures.reach(slots(fitted, baskets), out / "reach.png")
    scores.to_csv(out / "scores.csv", index=False)
    close(out, time.perf_counter() - start)


def slots(fitted: dict[str, Recommender], baskets: Groceries) -> dict[str, np.ndarray]:
    """How often each product stands in some household's list of 20, and was bought afterwards."""
    items = baskets.before.items
    pairs = baskets.fresh.pairs
    counts = {"bought afterwards": pairs.candidate_degrees.numpy()}
    for name, model in reversed(fitted.items()):
        listed = model.recommend(k=20).item
        counts[name] = np.bincount(items.rows(listed).numpy(), minlength=len(items))
    return counts


def describe(baskets: Groceries) -> None:
    """Print what the log holds and how it was cut."""
    before, after = baskets.before, baskets.after
    days = after.to_frame().time
    say(f"  {baskets.rows:,} purchases of 2017. From {days.min():%d %B} on they are held out.")
    say(
        f"  before: {len(before):,} purchases, {before.n_users:,} households, "
        f"{before.n_items:,} products (each bought by {HOUSEHOLDS} households or more)"
    )
    say(
        f"  after:  {len(after):,} purchases by these of these, {len(baskets.fresh):,} of them of "
        "a product new to the household"
    )


def judge(fitted: dict[str, Recommender], baskets: Groceries) -> pd.DataFrame:
    """Print the table of metrics and the paired tests, and return them."""
    with step("judging all four"):
        scores: pd.DataFrame = compare(fitted, baskets.fresh, metrics=METRICS, baseline="UltraGCN")
    say()
    by_model = scores.set_index(["model", "metric"])
    rows = [
        [name, *(with_interval(by_model.loc[name, metric]) for metric in METRICS)]
        for name in fitted
    ]
    table(["", *METRICS], rows)
    say("\n  in brackets: 95% bootstrap intervals over households")
    say(f"  {METRICS[0]} against UltraGCN's, paired over households, p corrected for all tests:")
    for row in scores[(scores.metric == METRICS[0]) & (scores.model != "UltraGCN")].itertuples():
        chance = "p < 0.001" if row.p_adjusted < 0.001 else f"p = {row.p_adjusted:.3f}"
        say(f"    {row.model:<14}{row.difference:+.4f}   {chance}")
    return scores


def with_interval(row: pd.Series) -> str:
    """A value and its interval; coverage is one number of all lists together and has none."""
    return f"{row.value:.4f}" + ("" if pd.isna(row.low) else f" [{row.low:.3f}, {row.high:.3f}]")


def show(lists: pd.DataFrame, baskets: Groceries, chosen: list[int]) -> None:
    """Print the lists with product names, and whether each product was bought afterwards."""
    bought = baskets.fresh.to_frame().groupby("user").item.agg(set)
    for household in chosen:
        habit = groceries.habits(baskets.before, baskets.products, household)
        say(f"\n  household {household}, who often buys {habit}")
        for row in lists[lists.user == household].itertuples():
            mark = "  <- bought it afterwards" if row.item in bought[household] else ""
            say(f"    {row.rank}. {groceries.label(baskets.products, row.item)}{mark}")


def show_changes(
    lists: pd.DataFrame, changed: pd.DataFrame, baskets: Groceries, chosen: list[int]
) -> None:
    """Print the later lists, and what left them and why."""
    bought = baskets.after.to_frame().groupby("user").item.agg(set)
    for household in chosen:
        old = lists[lists.user == household].item.tolist()
        new = changed[changed.user == household]
        say(f"\n  household {household}, after {len(bought[household])} more products")
        for row in new.itertuples():
            before = old.index(row.item) + 1 if row.item in old else None
            mark = {None: "  <- new", row.rank: ""}.get(before, f"  <- was {before}")
            say(f"    {row.rank}. {groceries.label(baskets.products, row.item)}{mark}")
        for item in old:
            if item not in set(new.item):
                why = "bought" if item in bought[household] else "others rank higher now"
                say(f"    -  {groceries.label(baskets.products, item)}  <- gone: {why}")


def close(out: Path, seconds: float) -> None:
    """Print where things are."""
    say(f"\n{'=' * 88}\nDone in {seconds:.0f} s. In {out}/:")
    say("  model/        the fitted UltraGCN; recsys recommend takes it from here:")
    say(f"                recsys recommend {out}/model --users 1,2,3 -k 10")
    say("  scores.csv    the table above")
    say("  quality.png   the models side by side")
    say("  reach.png     how few products fill all the lists")


if __name__ == "__main__":
    main()
