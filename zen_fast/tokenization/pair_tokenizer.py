"""Pairs of texts → pairs of ids, each text tokenized once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer

from zen_fast.batching import Int32Array, TokenizedPair
from zen_fast.errors import InvalidArgumentError
from zen_fast.tokenization.pair_layout import PairLayout, Run, learn_layout
from zen_fast.tokenization.token_cache import TokenCache, TokenCacheStatistics, TokenizedText
from zen_fast.tokenization.truncation import (
    TRUNCATIONS,
    Truncation,
    TruncationSide,
    truncated_lengths,
)

GROUP_CHARACTERS = 1 << 20
"""Characters encoded at once: an encoding holds some 100 bytes per token until its ids are read."""


class PairTokenizer:
    """Tokenizes, truncates and assembles pairs exactly as the stock tokenizer would.

    The tokenizer is never changed after construction, so that any number of threads may encode at
    once. A text that UTF-8 cannot carry is repaired first: surrogate pairs are joined, and lone
    surrogates become U+FFFD (the stock tokenizer rejects them).

    Args:
        tokenizer: becomes this object's own; its padding and truncation are switched off.
        max_length: longest pair in tokens, special tokens included; None for no limit.
        truncation: which text gives way where a pair is longer.
        truncation_side: which end of a text is cut off.
        uses_token_types: False where the model is not told token types (all of them are 0).
        cache_bytes: bound on the memory that remembers tokenized texts; 0 remembers none.
        layout: where the special tokens are; None learns it from the tokenizer's pairs. With
            `learn_text_layout` a document beside an empty query is a text by itself.

    Raises:
        InvalidArgumentError: `max_length` leaves no room beside the special tokens.
        UnsupportedModelError: the tokenizer's pairs are not prefix + query + middle + document +
            suffix.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_length: int | None,
        truncation: Truncation = "longest_first",
        truncation_side: TruncationSide = "right",
        uses_token_types: bool = True,
        cache_bytes: int = 0,
        layout: PairLayout | None = None,
    ) -> None:
        if truncation not in TRUNCATIONS:
            accepted = ", ".join(map(repr, TRUNCATIONS))
            raise InvalidArgumentError(f"truncation={truncation!r}: accepted are {accepted}")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if layout is None:
            layout = learn_layout(tokenizer)
        self._layout: PairLayout = layout if uses_token_types else layout.without_types()
        if max_length is not None and max_length <= self._layout.num_special_tokens:
            raise InvalidArgumentError(
                f"max_length={max_length} leaves no room for text: this model puts "
                f"{self._layout.num_special_tokens} special tokens around it, so max_length "
                f"must be at least {self._layout.num_special_tokens + 1}"
            )
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._room = None if max_length is None else max_length - self._layout.num_special_tokens
        self._truncation: Truncation = truncation
        self._truncation_side: TruncationSide = truncation_side
        self._cache = TokenCache(cache_bytes)

    @property
    def max_length(self) -> int | None:
        """Longest pair in tokens, special tokens included."""
        return self._max_length

    @property
    def layout(self) -> PairLayout:
        """The special tokens around a pair."""
        return self._layout

    def cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._cache.statistics()

    def encode_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> list[TokenizedPair]:
        """Pair up `queries` and `documents` of equal length: one tokenized pair each, in order.

        Raises:
            InvalidArgumentError: truncation is "only_second" and a query leaves no room.
        """
        texts = self._tokenized((*queries, *documents))
        heads: dict[tuple[str, int], Run] = {}
        pairs: list[TokenizedPair] = []
        for query, document in zip(queries, documents, strict=True):
            query_text, document_text = texts[query], texts[document]
            num_query, num_document = query_text.num_tokens, document_text.num_tokens
            if self._room is not None:
                num_query, num_document = truncated_lengths(
                    num_query, num_document, self._room, self._truncation
                )
            head = heads.get((query, num_query))
            if head is None:
                head = self._layout.head(self._cut(query_text.token_ids, num_query))
                heads[query, num_query] = head
            pairs.append(self._layout.pair(head, self._cut(document_text.token_ids, num_document)))
        return pairs

    def _tokenized(self, texts: Iterable[str]) -> dict[str, TokenizedText]:
        distinct = dict.fromkeys(texts)
        known = self._cache.get(distinct)
        missing = [text for text in distinct if text not in known]
        if missing:
            fresh = dict(zip(missing, self._encode(missing), strict=True))
            self._cache.put(fresh.items())
            known.update(fresh)
        return known

    def _encode(self, texts: list[str]) -> list[TokenizedText]:
        return [
            self._kept(encoding.ids)
            for group in _groups(texts)
            for encoding in self._tokenizer.encode_batch_fast(group, add_special_tokens=False)
        ]

    def _kept(self, token_ids: list[int]) -> TokenizedText:
        num_kept = len(token_ids) if self._room is None else min(len(token_ids), self._room)
        kept = token_ids[:num_kept]
        if self._truncation_side == "left":
            kept = token_ids[len(token_ids) - num_kept :]
        return TokenizedText(np.array(kept, dtype=np.int32), len(token_ids))

    def _cut(self, token_ids: Int32Array, num_kept: int) -> Int32Array:
        if self._truncation_side == "left":
            return token_ids[len(token_ids) - num_kept :]
        return token_ids[:num_kept]


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """`texts` in order, repaired, in groups of bounded length."""
    group: list[str] = []
    num_characters = 0
    for text in texts:
        if group and num_characters + len(text) > GROUP_CHARACTERS:
            yield group
            group, num_characters = [], 0
        group.append(text if _is_utf8(text) else _repaired(text))
        num_characters += len(text)
    if group:
        yield group


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _repaired(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
