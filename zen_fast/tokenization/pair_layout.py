"""Where a tokenizer puts its special tokens around a pair, learned by asking it once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from zen_fast.batching import Int32Array, TokenizedPair
from zen_fast.errors import UnsupportedModelError

PROBE_TEXTS = ("what is this", "a longer text, of 12 words: it is here to be told apart", "x", "")


@dataclass(frozen=True)
class Run:
    """Adjacent special tokens: ids (n,) int32 and token type ids (n,) int32."""

    token_ids: Int32Array
    token_type_ids: Int32Array


@dataclass(frozen=True)
class PairLayout:
    """prefix + query + middle + document + suffix."""

    prefix: Run
    middle: Run
    suffix: Run
    query_type: int
    document_type: int
    has_query: bool = True
    """False for a text by itself, beside which the query is empty."""

    @property
    def num_special_tokens(self) -> int:
        return len(self.prefix.token_ids) + len(self.middle.token_ids) + len(self.suffix.token_ids)

    @property
    def max_token_type(self) -> int:
        """Largest token type id that any token of a pair can have."""
        runs = (self.prefix, self.middle, self.suffix)
        return max(
            self.query_type, self.document_type, *(max(r.token_type_ids, default=0) for r in runs)
        )

    def head(self, query_ids: Int32Array) -> Run:
        """Everything before the document, for a truncated query."""
        query_types = np.full(len(query_ids), self.query_type, dtype=np.int32)
        return Run(
            np.concatenate((self.prefix.token_ids, query_ids, self.middle.token_ids)),
            np.concatenate((self.prefix.token_type_ids, query_types, self.middle.token_type_ids)),
        )

    def pair(self, head: Run, document_ids: Int32Array) -> TokenizedPair:
        """The whole pair, for a truncated document."""
        token_ids = np.concatenate((head.token_ids, document_ids, self.suffix.token_ids))
        token_type_ids = np.empty_like(token_ids)
        start, stop = len(head.token_ids), len(head.token_ids) + len(document_ids)
        token_type_ids[:start] = head.token_type_ids
        token_type_ids[start:stop] = self.document_type
        token_type_ids[stop:] = self.suffix.token_type_ids
        return TokenizedPair(token_ids, token_type_ids, num_head_tokens=start)

    def without_types(self) -> PairLayout:
        """The same layout for a model that is not told token types: all of them are 0."""

        def untyped(run: Run) -> Run:
            return Run(run.token_ids, np.zeros_like(run.token_type_ids))

        return PairLayout(
            prefix=untyped(self.prefix),
            middle=untyped(self.middle),
            suffix=untyped(self.suffix),
            query_type=0,
            document_type=0,
            has_query=self.has_query,
        )


def learn_layout(tokenizer: Tokenizer) -> PairLayout:
    """The layout of `tokenizer`'s pairs; its padding and truncation must be off.

    Raises:
        UnsupportedModelError: its pairs are not prefix + query + middle + document + suffix.
    """
    single = {text: tokenizer.encode(text, add_special_tokens=False) for text in PROBE_TEXTS}
    layout: PairLayout | None = None
    for query, document in itertools.product(PROBE_TEXTS, repeat=2):
        pair = tokenizer.encode(query, document)
        if layout is None:
            layout = _read_layout(single[query], single[document], pair)
        _verify(layout, single[query], single[document], pair)
    if layout is None or layout.num_special_tokens != tokenizer.num_special_tokens_to_add(True):
        raise _unsupported()
    return layout


def learn_text_layout(tokenizer: Tokenizer) -> PairLayout:
    """The layout of a text by itself: a pair whose query, and what would part it, are empty.

    Args:
        tokenizer: its padding and truncation must be off.

    Raises:
        UnsupportedModelError: its texts are not special tokens, text, special tokens.
    """
    nothing = Run(np.array([], dtype=np.int32), np.array([], dtype=np.int32))
    probe, *_ = PROBE_TEXTS
    whole = tokenizer.encode(probe)
    sequences: Sequence[int | None] = whole.sequence_ids
    if 0 not in sequences or not tokenizer.num_special_tokens_to_add(False):
        raise _unsupported_text()
    start = sequences.index(0)
    stop = start + len(tokenizer.encode(probe, add_special_tokens=False).ids)
    layout = PairLayout(
        prefix=_run(whole, 0, start),
        middle=nothing,
        suffix=_run(whole, stop, len(whole.ids)),
        query_type=0,
        document_type=whole.type_ids[start],
        has_query=False,
    )
    for text in PROBE_TEXTS:
        whole, alone = tokenizer.encode(text), tokenizer.encode(text, add_special_tokens=False)
        built = layout.pair(layout.head(nothing.token_ids), np.array(alone.ids, dtype=np.int32))
        if (built.token_ids.tolist(), built.token_type_ids.tolist()) != (whole.ids, whole.type_ids):
            raise _unsupported_text()
    return layout


def _run(encoding: Encoding, start: int, stop: int) -> Run:
    return Run(
        np.array(encoding.ids[start:stop], dtype=np.int32),
        np.array(encoding.type_ids[start:stop], dtype=np.int32),
    )


def _read_layout(first: Encoding, second: Encoding, pair: Encoding) -> PairLayout:
    sequences: Sequence[int | None] = pair.sequence_ids
    if not first.ids or not second.ids or 0 not in sequences or 1 not in sequences:
        raise _unsupported()
    query_start, document_start = sequences.index(0), sequences.index(1)

    return PairLayout(
        prefix=_run(pair, 0, query_start),
        middle=_run(pair, query_start + len(first.ids), document_start),
        suffix=_run(pair, document_start + len(second.ids), len(pair.ids)),
        query_type=pair.type_ids[query_start],
        document_type=pair.type_ids[document_start],
    )


def _verify(layout: PairLayout, first: Encoding, second: Encoding, pair: Encoding) -> None:
    head = layout.head(np.array(first.ids, dtype=np.int32))
    built = layout.pair(head, np.array(second.ids, dtype=np.int32))
    if (built.token_ids.tolist(), built.token_type_ids.tolist()) != (pair.ids, pair.type_ids):
        raise _unsupported()


def _unsupported() -> UnsupportedModelError:
    return UnsupportedModelError(
        "the tokenizer's post-processor does not lay a pair out as special tokens, query, special "
        "tokens, document, special tokens; only such cross-encoders are supported"
    )


def _unsupported_text() -> UnsupportedModelError:
    return UnsupportedModelError(
        "the tokenizer's post-processor does not lay a text out as special tokens, text, special "
        "tokens, with one special token at least; only such bi-encoders are supported"
    )
