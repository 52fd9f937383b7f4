"""What a report calls its systems: short names that still tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from zen_fast.errors import InvalidArgumentError
from zen_fast.retrieval import Mode

RETRIEVAL_MODES = get_args(Mode)
_RUN_SUFFIX = ".trec"


def model_labels(models: Sequence[str]) -> list[str]:
    """The last part of each path or hub id; the whole of it where several end alike.

    Raises:
        InvalidArgumentError: a model is named twice.
    """
    return distinct("--model", _shortened(models))


def first_stage_labels(names: Sequence[str]) -> list[str]:
    """A mode's own name; for a run or a folder of runs its last part, or the whole, and ".trec".

    Raises:
        InvalidArgumentError: a first stage is named twice.
    """
    runs = [name for name in names if name not in RETRIEVAL_MODES]
    # A system's name may have dots in it, as in bm25+reranker-int8-0.2-first-stage.
    shortened = _shortened([run.removesuffix(_RUN_SUFFIX) for run in runs])
    of_runs = dict(zip(runs, shortened, strict=True))
    return distinct(
        "--first-stage",
        [f"{of_runs[name]}{_RUN_SUFFIX}" if name in of_runs else name for name in names],
    )


def distinct(option: str, labels: Sequence[str]) -> list[str]:
    """`labels`, of which no report could tell two alike apart.

    Raises:
        InvalidArgumentError: two are alike.
    """
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InvalidArgumentError(f"{option} has {twice} twice; name each once")
    return list(labels)


def _shortened(paths: Sequence[str]) -> list[str]:
    names = [Path(path).name or path for path in paths]
    return [
        path if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)
    ]
