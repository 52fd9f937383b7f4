"""The model under test: a folder of files, and what the measurements need to know of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from zen_fast.architectures import encoder_spec
from zen_fast.errors import InvalidArgumentError
from zen_fast.spec import EncoderSpec


@dataclass(frozen=True)
class BenchModel:
    """A model every engine can load, and what the measurements need to know of it."""

    name: str
    folder: Path
    random_weights: bool
    spec: EncoderSpec
    tokenizer: Tokenizer
    """Truncates pairs as the stock tokenizer does; never pads."""

    def pair_lengths(self, query: str, documents: Sequence[str]) -> list[int]:
        """Tokens of each pair as the model reads it, truncated, special tokens included."""
        pairs = [(query, document) for document in documents]
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch(pairs)]


def open_model(folder: Path, name: str, *, random_weights: bool = False) -> BenchModel:
    """Read config.json and tokenizer.json of a model folder.

    Raises:
        InvalidArgumentError: a file is missing, or the model gives more than one logit.
        UnsupportedModelError: the architecture is unknown, so that its FLOPs cannot be counted.
    """
    for file in ("config.json", "tokenizer.json"):
        if not (folder / file).is_file():
            raise InvalidArgumentError(f"{folder} is no model folder: it has no {file}")
    spec = encoder_spec(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if spec.head.num_labels != 1:
        raise InvalidArgumentError(
            f"{name} gives {spec.head.num_labels} logits per pair; a reranker gives one"
        )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_model_max_length(folder, spec), strategy="longest_first")
    return BenchModel(name, folder, random_weights, spec, tokenizer)


def _model_max_length(folder: Path, spec: EncoderSpec) -> int:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return int(min(config.get("model_max_length") or spec.max_length, spec.max_length))
