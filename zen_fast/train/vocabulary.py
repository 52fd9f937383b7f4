"""Trimming a WordPiece vocabulary: fewer embedding rows, still no [UNK] for English text."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zen_fast.train.errors import TrainingDataError

_UNUSED = re.compile(r"\[unused\d+\]")
_BATCH = 1024


def load_tokenizer(path: Path) -> Tokenizer:
    """Load tokenizer.json with truncation and padding off."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token.

    Raises:
        TrainingDataError: the vocabulary lacks it.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise TrainingDataError(f"tokenizer.json has no {token}; a BERT WordPiece is needed")
    return int(found)


def count_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[int]:
    """How often each token id occurs in the texts."""
    counts: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            _count_batch(tokenizer, batch, counts)
            batch = []
    _count_batch(tokenizer, batch, counts)
    return counts


def _count_batch(tokenizer: Tokenizer, batch: list[str], counts: Counter[int]) -> None:
    for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
        counts.update(encoding.ids)


def kept_token_ids(
    tokenizer: Tokenizer, counts: Counter[int], vocabulary_size: int, general_weight: float = 0.0
) -> list[int]:
    """Choose the ids to keep, in their old order.

    Always kept: special tokens and single characters (alone and as a continuation), into which
    any other word falls apart. The rest by count; ties by the old id, since BERT's vocabulary is
    itself ordered by frequency.

    Args:
        counts: token id to occurrences in the training text.
        vocabulary_size: number of ids to keep; the whole vocabulary if it is smaller.
        general_weight: of a general English text of the same length, counted with it; how often a
            word stands there is guessed from its place in the vocabulary (Zipf's law).
    """
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.get_added_tokens_decoder())
    always = {
        old
        for token, old in vocabulary.items()
        if old in special or len(token.removeprefix("##")) == 1
    }
    rest = sorted(
        old
        for token, old in vocabulary.items()
        if old not in always and not _UNUSED.fullmatch(token)
    )
    general = general_weight * counts.total() / math.log(max(2, len(rest)))
    expected = {old: counts[old] + general / rank for rank, old in enumerate(rest, start=1)}
    rest.sort(key=lambda old: (-expected[old], old))
    return sorted([*always, *rest[: max(0, vocabulary_size - len(always))]])


def trim_tokenizer(tokenizer: Tokenizer, kept: list[int]) -> Tokenizer:
    """The same tokenizer over the kept ids, renumbered from 0 in the order given."""
    new_id = {old: new for new, old in enumerate(kept)}
    fields: dict[str, Any] = json.loads(tokenizer.to_str())
    fields["model"]["vocab"] = {
        token: new_id[old]
        for token, old in sorted(fields["model"]["vocab"].items(), key=lambda item: item[1])
        if old in new_id
    }
    for added in fields["added_tokens"]:
        added["id"] = new_id[added["id"]]
    for special in fields["post_processor"]["special_tokens"].values():
        special["ids"] = [new_id[old] for old in special["ids"]]
    return Tokenizer.from_str(json.dumps(fields))
