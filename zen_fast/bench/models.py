"""The model under test: a folder of files, and what the measurements need to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from zen_fast.architectures import encoder_spec
from zen_fast.checkpoint.json_file import read_json
from zen_fast.errors import InvalidArgumentError
from zen_fast.sentence_transformers_settings import read_settings
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer
from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer


@dataclass(frozen=True)
class BenchModel:
    """A model that every engine can load."""

    name: str
    folder: Path
    random_weights: bool
    spec: EncoderSpec
    tokenizer: Tokenizer
    """Neither pads nor truncates."""
    pair_tokenizer: PairTokenizer

    def pair_lengths(self, query: str, documents: Sequence[str]) -> list[int]:
        """Tokens of each pair as the model reads it, truncated, special tokens included."""
        pairs = self.pair_tokenizer.encode_pairs([query] * len(documents), documents)
        return [len(pair) for pair in pairs]


def open_model(folder: Path, name: str, *, random_weights: bool = False) -> BenchModel:
    """Read a model folder's configuration and tokenizer.

    Raises:
        CheckpointError: a file is missing or malformed.
        InvalidArgumentError: the model gives more than one logit.
        UnsupportedModelError: the architecture is unknown, so that its FLOPs cannot be counted.
    """
    config = read_json(folder / "config.json")
    spec = encoder_spec(config)
    if spec.head.num_labels != 1:
        raise InvalidArgumentError(
            f"{name} gives {spec.head.num_labels} logits per pair; a reranker gives one"
        )
    stock = load_stock_tokenizer(folder, config, read_json(folder / "tokenizer_config.json", {}))
    pair_tokenizer = stock.pair_tokenizer(
        longest_supported=spec.max_length,
        max_length=read_settings(folder).pair_length(spec.max_length),
    )
    return BenchModel(name, folder, random_weights, spec, stock.tokenizer, pair_tokenizer)
