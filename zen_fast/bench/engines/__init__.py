"""What is compared: one adapter per engine, all behind the same three methods."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from zen_fast.errors import InvalidArgumentError, MissingDependencyError
from zen_fast.extras import install

REFERENCE = "transformers"
"""The engine whose logits gate every other engine; it takes part in every run."""

ENGINES = {
    REFERENCE: "zen_fast.bench.engines.transformers:TransformersEngine",
    "sentence-transformers": "zen_fast.bench.engines.sentence_transformers:CrossEncoderEngine",
    "zen": "zen_fast.bench.engines.zen:ZenEngine",
}
"""Name on the command line → where its adapter is; `zen` gives one row per precision."""


@dataclass(frozen=True)
class EngineOptions:
    """What every engine of one run is given alike, and the precision of its own row."""

    model_folder: str
    num_threads: int
    device: str
    precision: str
    max_length: int | None = None
    """Longest pair in tokens, special tokens included; None for what the tokenizer's settings say.

    zen and sentence-transformers find the model's limit themselves; transformers must be told.
    """


class Engine(Protocol):
    """An adapter; its constructor takes EngineOptions, imports the engine and loads the model.

    One that computes in another precision than fp32 says so in an attribute `precision`, one of
    zen_fast.bench.gate.TOLERANCES: its row is reported and held to the reference as that.
    """

    def logits(self, query: str, documents: Sequence[str]) -> list[float]:
        """From strings to one raw logit per document, in input order: what is timed."""

    def tune(self, query: str, documents: Sequence[str]) -> None:
        """Choose settings on one request, before anything is timed."""

    def settings(self) -> dict[str, Any]:
        """The engine's version and chosen settings, for the report."""


@dataclass(frozen=True)
class EngineRow:
    """One row of the comparison."""

    name: str
    adapter: str
    """module:Class"""
    precision: str


def engine_rows(names: Sequence[str], precisions: Sequence[str]) -> list[EngineRow]:
    """The rows of a run, the reference first; a `module:Class` is an adapter of the user's own.

    Raises:
        InvalidArgumentError: a name is neither in ENGINES nor of the form module:Class.
    """
    rows = [EngineRow(REFERENCE, ENGINES[REFERENCE], "fp32")]
    for name in names:
        if name == "zen":
            rows += [EngineRow(f"zen-{each}", ENGINES[name], each) for each in precisions]
        elif name in ENGINES or ":" in name:
            rows.append(EngineRow(name.rpartition(":")[2], ENGINES.get(name, name), "fp32"))
        else:
            raise InvalidArgumentError(
                f"unknown engine {name!r}; engines are {', '.join(ENGINES)}, or module:Class"
            )
    return list({row.name: row for row in rows}.values())


def load_engine(adapter: str, options: EngineOptions) -> Engine:
    """Import the adapter `module:Class` and load its model.

    Raises:
        InvalidArgumentError: there is no such adapter.
        MissingDependencyError: the engine is not installed.
    """
    module_name, _, class_name = adapter.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            raise InvalidArgumentError(f"no module {module_name!r} for {adapter!r}") from error
        is_ours = adapter in ENGINES.values()
        remedy = install("bench") if is_ours else f"pip install {error.name}"
        raise MissingDependencyError(
            f"the engine {adapter} needs {error.name}: {remedy}"
        ) from error
    if not hasattr(module, class_name):
        raise InvalidArgumentError(f"module {module_name!r} has no class {class_name!r}")
    return cast(Engine, getattr(module, class_name)(options))
