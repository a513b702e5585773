"""What tests ask of a command line: its answer as JSON, or its one sentence of refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Run = Callable[[str], tuple[int, str, str]]  # a command line -> exit code, stdout, stderr


def data(found: tuple[int, str, str], code: int = 0) -> dict[str, Any]:
    """The JSON object that was printed, and nothing else."""
    assert (found[0], found[2]) == (code, "")
    answer: dict[str, Any] = json.loads(found[1])
    return answer


def each(found: tuple[int, str, str], code: int = 0) -> list[dict[str, Any]]:
    """The JSON objects that were printed, one a line, and nothing else."""
    assert (found[0], found[2]) == (code, "")
    return [json.loads(line) for line in found[1].splitlines()]


def refused(found: tuple[int, str, str], message: str, code: int = 2) -> None:
    """Passes when this was said, in one sentence, and nothing else."""
    assert found[0] == code
    assert found[1] == ""
    assert message in found[2]
    assert found[2].count("\n") == 1, "one sentence"
    assert "Traceback" not in found[2]
