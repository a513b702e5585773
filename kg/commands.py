"""What each command of ``kg`` does, from parsed options to an answer that is data and text."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from hyperrank.command_shell import check_free, device_of, load_model, save_model
from hyperrank.rendering import Answer, lines, records, table
from kg.plot_command import plot

__all__ = [  # a function for each command
    "complete",
    "describe",
    "evaluate",
    "fit",
    "plot",
    "predict",
    "robustness",
    "score_all",
    "search",
]
MODELS = {  # every link predictor that a command can fit -> module:Class
    "tucker": "kg.tucker:TuckER",
    "migtf": "kg.migtf:MIGTF",
}
SHOWN = 20  # relations that describe prints; --json has all


def fit(options: Namespace) -> Answer:
    """Reads, learns, saves."""
    import time

    from hyperrank.named_models import make_model
    from kg.triples import Triples
    from kg.tucker import TuckER

    check_free(options.out, options.force)
    wanted = {"random_state": options.seed, "progress": not options.quiet, **device_of(options)}
    model, more = make_model(MODELS, options.model, options.set, **wanted), {}
    if options.base:
        if type(model).__name__ != "MIGTF":
            raise ValueError(f"--base applies to --model migtf, not to {options.model}")
        more["base"] = load_model(options.base, TuckER, **device_of(options))
    if options.known and not options.valid:
        raise ValueError("--known hides answers from validation facts; give --valid too")
    judged_by = [options.valid] if options.valid else []
    files = [options.facts, *judged_by, *options.known, *options.ids_from]
    like = _ids_of(more.get("base"))
    parts = Triples.read_parts(files, *_columns(options, *files), like=like)
    if like:
        parts = (*(part.reindex(*like) for part in parts[:2]), *parts[2:])
    train, valid = parts[0], parts[1] if options.valid else None
    known = parts[2 : 2 + len(options.known)]
    began = time.perf_counter()
    model.fit(train, valid, known, **more)
    seconds = time.perf_counter() - began
    judged = {} if valid is None else {"validation_mrr": model.score(valid, known=known)}
    digest, as_version = save_model(model, options, judged)
    data = {
        "store": options.out,
        "model": type(model).__name__,
        "params": model.get_params(),
        "entities": train.n_entities,
        "relations": train.n_relations,
        "facts": len(train),
        "duplicates": train.duplicates,
        "seconds": round(seconds, 3),
        "digest": digest,
        **judged,
    }
    text = f"saved {data['model']} of {len(train):,} facts in {options.out}{as_version}"
    text += f", {seconds:.1f} s"
    if train.duplicates:
        text += f"; {train.duplicates:,} rows repeated a fact"
    for score in judged.values():
        text += f"; validation MRR {score:.4f}"
    return Answer(data, text)


def search(options: Namespace) -> Answer:
    """Trials of a model, the best of them saved."""
    from hyperrank import search_command
    from hyperrank.named_models import make_model
    from kg import spaces
    from kg.triples import Triples

    search_command.check(options)
    wanted = {"random_state": options.seed, **device_of(options)}
    model = make_model(MODELS, options.model, options.set, **wanted)
    files = [options.facts, options.valid, *options.known, *options.ids_from]
    train, valid, *rest = Triples.read_parts(files, *_columns(options, *files))
    beside = {"known": rest[: len(options.known)]} if options.known else {}
    return search_command.run(options, model, spaces, (train, valid), beside)


def complete(options: Namespace) -> Answer:
    """Answers to some questions on stdout or in a file."""
    from hyperrank.written_ids import columns_in, ids_in, read_ids

    model = _load(options)
    word, anchors, relations = _questions(options)
    if options.queries:
        wanted = [(word, model.entities_), ("relation", model.relations_)]
        anchor, relation = columns_in(options.queries, wanted)
    else:
        longest = max(len(anchors), len(relations))
        anchor = read_ids(model.entities_, _repeated(anchors, longest), f"--{word}")
        relation = read_ids(model.relations_, _repeated(relations, longest), "--relation")
    candidates = None
    if options.candidates:
        candidates = ids_in(options.candidates, "candidate", model.entities_)
    found = model.complete(
        **{f"{word}s": anchor},
        relations=relation,
        k=options.k,
        exclude_known=not options.include_known,
        candidates=candidates,
    )
    return _told(options, "completions", found)


def predict(options: Namespace) -> Answer:
    """Scores of the facts in a file, in its order."""
    from hyperrank.tables import to_backend
    from hyperrank.written_ids import columns_in
    from kg.queries import rows_of

    model = _load(options)
    known = {"head": model.entities_, "relation": model.relations_, "tail": model.entities_}
    named = zip(_columns(options, options.facts), known.values(), strict=True)
    asked = columns_in(options.facts, list(named))
    columns = {
        word: ids.take(rows_of(ids, found, word))
        for (word, ids), found in zip(known.items(), asked, strict=True)
    }
    scores = {"score": model.predict(*columns.values())}
    if options.probability:
        scores["probability"] = model.predict(*columns.values(), probability=True)
    return _told(options, "predictions", to_backend(columns | scores, model.backend_))


def score_all(options: Namespace) -> Answer:
    """The best pairs of relations, in a folder of parts."""
    from hyperrank.parts import shard_of
    from hyperrank.written_ids import read_ids

    shard = shard_of(options.shard)
    model = _load(options)
    relations = None
    if options.relation:
        relations = read_ids(model.relations_, options.relation, "--relation")
    parts = model.score_all(
        options.out,
        relations,
        k=options.k,
        min_score=options.min_score,
        exclude_known=not options.include_known,
        memory=options.memory * 2**20,
        shard=shard,
        progress=not options.quiet,
    )
    data = {"out": options.out, **parts._asdict()}
    text = f"wrote {parts.written} parts in {options.out}; {parts.done} of {parts.total} are there"
    return Answer(data, text)


def evaluate(options: Namespace) -> Answer:
    """Metrics of one model with intervals."""
    from kg.evaluation import evaluate as judged
    from kg.triples import Triples

    model = _load(options)
    files, like = [options.test, *options.known], _ids_of(model)
    test, *known = Triples.read_parts(files, *_columns(options, *files), like=like)
    if options.drop_unknown:
        test = test.reindex(model.entities_, model.relations_, unknown="drop")
    frame = judged(
        model,
        test,
        [name.strip() for name in options.metrics.split(",") if name.strip()],
        known=known,
        ties=options.ties,
        by=options.by,
        protocol=options.protocol,
    )
    rows = records(frame)
    return Answer({"store": options.store, "metrics": rows}, table(rows))


def robustness(options: Namespace) -> Answer:
    """Accuracy under attack, certified radii, norms."""
    from hyperrank import figures, pages
    from hyperrank import robustness as told
    from kg.robustness import findings
    from kg.triples import Triples

    if options.report:
        pages.check(options.report)
        figures.check_installed("a report")
    model, test = _load(options), None
    if options.test:
        columns = _columns(options, options.test)
        test = Triples.read(options.test, *columns, like=_ids_of(model))
    found = findings(model, test, options.k, options.epsilons, options.seed)
    title = f"Robustness of {options.store}, a {type(model).__name__}"
    return told.answer(title, found, options.report)


def describe(options: Namespace) -> Answer:
    """What facts there are."""
    from kg.summary import by_relation, summary
    from kg.triples import Triples

    facts = Triples.read(options.facts, *_columns(options, options.facts))
    data, rows = summary(facts), by_relation(facts)
    more = f"\nand {len(rows) - SHOWN} relations more" if len(rows) > SHOWN else ""
    text = f"{lines(data)}\n\n{table(rows[:SHOWN])}{more}"
    return Answer(data | {"by_relation": rows}, text)


def _questions(options: Namespace) -> tuple[str, list[str], list[str]]:
    """Which side is given, and the texts of ids that were typed, none with a file."""
    if options.queries:
        from hyperrank.tables import header

        if options.relation:
            raise ValueError("--relation applies to --head and --tail; --queries has its own")
        sides = [side for side in ("head", "tail") if side in header(options.queries)]
        if len(sides) != 1:
            raise ValueError(
                f"{options.queries} must have a column head or a column tail, and not both, beside "
                f"relation; it has {', '.join(header(options.queries))}"
            )
        return sides[0], [], []
    word = "tail" if options.head is None else "head"
    anchors, relations = options.head or options.tail, options.relation or []
    if not relations or 1 not in (len(anchors), len(relations), len(anchors) - len(relations) + 1):
        raise ValueError(
            f"got {len(anchors)} --{word} and {len(relations)} --relation; give a --relation for "
            f"each, or one for all"
        )
    return word, anchors, relations


def _repeated(texts: Sequence[str], length: int) -> list[str]:
    return [*texts] * (length if len(texts) == 1 else 1)


def _told(options: Namespace, what: str, frame: Any) -> Answer:
    """The rows of a frame, printed or in the file that was named."""
    from hyperrank import tables

    if options.out:
        tables.write(frame, options.out)
        return Answer({"out": options.out, "rows": len(frame)}, f"wrote {options.out}")
    rows = records(frame)
    return Answer({what: rows}, table(rows))


def _columns(options: Namespace, *paths: str) -> tuple[str | int, str | int, str | int]:
    """The columns of head, relation and tail; those given by number have no header."""
    if options.no_header:
        from hyperrank.tables import files_of, header

        for file in files_of(paths):
            if len(header(file)) != 3:
                raise ValueError(
                    f"{file} has {len(header(file))} columns; --no-header expects three, and "
                    "--head 0 --relation 1 --tail 2 chooses among more"
                )
        return 0, 1, 2
    return _column(options.head), _column(options.relation), _column(options.tail)


def _column(name: str) -> str | int:
    return int(name) if name.isdecimal() else name


def _ids_of(model: Any) -> Any:
    return None if model is None else (model.entities_, model.relations_)


def _load(options: Namespace) -> Any:
    from kg.predictor import LinkPredictor

    if getattr(options, "out", None) and hasattr(options, "force"):
        check_free(options.out, options.force)
    return load_model(options.store, LinkPredictor, **device_of(options))
