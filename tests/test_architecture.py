"""Rules that hold for every file: layers, words, sizes, names, light imports, safe formats."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ("hyperrank", "recsys", "kg")
DOMAIN_WORDS = {"user", "item", "entity", "entities", "relation", "head", "tail"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "base"}
MOST_LINES = 400

MODELS = ["UltraGCN", "TriplH", "BPRMF", "EASE", "PureSVD", "ItemKNN", "Popularity"]
INNER = {  # modules behind another module's door -> the test file that goes through that door
    "hyperrank/identifiers.py": "test_vocabulary.py",
    "hyperrank/command_shell.py": "test_cli.py",
    "hyperrank/named_models.py": "test_models.py",
    "recsys/cli_replay.py": "test_replay_command.py",
    "recsys/cli_store.py": "test_store_commands.py",
    "recsys/commands.py": "test_cli.py",
    "recsys/fit_command.py": "test_commands.py",
    "recsys/recommend_command.py": "test_commands.py",
    "recsys/popularity_command.py": "test_exposure.py",
    "recsys/robustness_command.py": "test_robustness.py",
    "hyperrank/search_command.py": "test_search_command.py",
    "hyperrank/workers.py": "test_search.py",
    "recsys/raw_rows.py": "test_screening.py",
    "recsys/trained.py": "test_ultragcn.py",
    "recsys/events.py": "test_interactions.py",
    "recsys/judging.py": "test_judge.py",
    "recsys/measures.py": "test_interactions.py",
}
PUBLIC = {
    "recsys": ["Interactions", *MODELS, "ImplicitALS", "ImplicitBPR", "evaluate", "compare"],
    "kg": ["Triples", "TuckER", "MIGTF", "evaluate", "compare"],
    "hyperrank": ["operators", "norms", "orthogonal", "lowrank", "hyperbolic", "optim", "store"],
}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


SOURCES = modules("hyperrank", "recsys", "kg", "data", "demo", "benchmarks")


def words(text: str) -> set[str]:
    """Lower-case words of prose or of an identifier, plurals cut: ``n_userRows`` has user, row."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    found = re.findall(r"[a-z]+", spaced.lower())
    return {*found, *(word.removesuffix("s") for word in found)}


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that this file gives, not those it uses: ``x.item()`` is torch's word, not ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


@pytest.mark.parametrize("path", modules("hyperrank"), ids=named)
def test_the_floor_speaks_of_queries_and_candidates(path: Path) -> None:
    tree = ast.parse(path.read_text())
    said = [*defined_names(tree), *docstrings(tree), (1, path.stem)]
    found = {(line, word) for line, text in said for word in words(text) & DOMAIN_WORDS}
    assert not found, f"{named(path)} speaks of a domain: {sorted(found)}"


@pytest.mark.parametrize("path", [*SOURCES, *modules("tests")], ids=named)
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, f"{named(path)} has {lines} lines; look for the missing noun"


@pytest.mark.parametrize("path", [*SOURCES, *modules("tests")], ids=named)
def test_file_names_say_what_is_inside(path: Path) -> None:
    assert not words(path.stem) & VAGUE_NAMES


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_unsafe_format_and_no_global_seed(path: Path) -> None:
    tree = ast.parse(path.read_text())
    forbidden = {"torch.load", "torch.save", "torch.manual_seed", "torch.cuda.manual_seed_all"}
    forbidden |= {"np.random.seed", "numpy.random.seed", "random.seed"}
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & forbidden
    assert not imported(tree) & {"pickle", "cloudpickle", "dill", "joblib"}


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", modules(*INSTALLED), ids=named)
def test_nothing_installed_imports_the_checkout(path: Path) -> None:
    assert not imported(ast.parse(path.read_text())) & {"data", "demo", "benchmarks", "tests"}


@pytest.mark.parametrize("path", modules(*INSTALLED), ids=named)
def test_only_search_imports_optuna(path: Path) -> None:
    if named(path) != "hyperrank/search.py":
        assert "optuna" not in imported(ast.parse(path.read_text()))


@pytest.mark.parametrize("module", ["hyperrank", "recsys", "recsys.cli", "kg", "kg.cli"])
def test_imports_are_light(module: str) -> None:
    heavy = "{'torch', 'pandas', 'scipy', 'pyarrow', 'polars', 'sklearn', 'implicit'}"
    script = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", [f"{p}.{n}" for p in ("recsys", "kg") for n in PUBLIC[p]])
def test_public_names_exist(name: str) -> None:
    package, _, public = name.partition(".")
    home = importlib.import_module(package)
    assert hasattr(home, public)
    assert public in dir(home), "dir() should list the lazily imported names"
    assert public in home.__all__


@pytest.mark.parametrize("name", PUBLIC["hyperrank"])
def test_public_modules_exist(name: str) -> None:
    assert importlib.import_module(f"hyperrank.{name}").__doc__


def tested_modules() -> set[str]:
    """Dotted names of modules that some test file imports from, whichever way it says so."""
    found: set[str] = set()
    for path in modules("tests"):
        if not path.stem.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules("hyperrank", "recsys", "kg", "data"), ids=named)
def test_every_module_has_a_test(path: Path) -> None:
    if path.name in {"__init__.py", "__main__.py"}:
        return
    if named(path) in INNER:
        assert (ROOT / "tests" / INNER[named(path)]).is_file(), f"no tests/{INNER[named(path)]}"
        return
    dotted = named(path).removesuffix(".py").replace("/", ".")
    files = [other.stem for other in modules("tests")]
    by_name = any(stem.startswith("test_") and path.stem in stem for stem in files)
    assert by_name or dotted in tested_modules(), (
        f"no tests/test_{path.stem}.py, and no test file imports {dotted}"
    )


def test_inner_modules_exist() -> None:
    assert [path for path in INNER if not (ROOT / path).is_file()] == []


def test_the_wheel_holds_the_three_packages_only() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(found) == ["hyperrank*", "kg*", "recsys*"]


def test_constraints_meet_the_open_ranges() -> None:
    """Every direct dependency is pinned, at a version that pyproject.toml admits."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            pins[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    wanted = [Requirement(text) for text in project["dependencies"]]
    for extra, texts in project["optional-dependencies"].items():
        if extra != "torch-sparse":  # source only; its version follows torch
            wanted += [Requirement(text) for text in texts]
    for need in wanted:
        pin_of = pins.get(canonicalize_name(need.name))
        assert pin_of is not None, f"constraints.txt has no pin for {need.name}"
        assert need.specifier.contains(pin_of), f"{need.name} {pin_of} is outside {need.specifier}"
