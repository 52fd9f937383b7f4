"""Pairs of texts → pairs of ids, each text tokenized once."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from zen_fast.batching import Int32Array, TokenizedPair
from zen_fast.errors import InvalidArgumentError
from zen_fast.tokenization.pair_layout import PairLayout, Run, learn_layout
from zen_fast.tokenization.text_tokenizer import TextTokenizer
from zen_fast.tokenization.token_cache import TokenCacheStatistics
from zen_fast.tokenization.truncation import (
    Truncation,
    TruncationSide,
    check_truncation,
    truncated_lengths,
)


class PairTokenizer:
    """Tokenizes, truncates and assembles pairs exactly as the stock tokenizer would.

    Safe under threads; a text that UTF-8 cannot carry is repaired, see `TextTokenizer`.

    Args:
        tokenizer: becomes this object's own; its padding and truncation are switched off.
        max_length: longest pair in tokens, special tokens included; None for no limit.
        truncation: which text gives way where a pair is longer.
        truncation_side: which end of a text is cut off.
        uses_token_types: False where the model is not told token types (all of them are 0).
        cache_bytes: bound on the memory that remembers tokenized texts; 0 remembers none.

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
    ) -> None:
        check_truncation(truncation)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        layout = learn_layout(tokenizer)
        self._layout: PairLayout = layout if uses_token_types else layout.without_types()
        if max_length is not None and max_length <= self._layout.num_special_tokens:
            raise InvalidArgumentError(
                f"max_length={max_length} leaves no room for text: this model puts "
                f"{self._layout.num_special_tokens} special tokens around a pair, so max_length "
                f"must be at least {self._layout.num_special_tokens + 1}"
            )
        self._max_length = max_length
        self._room = None if max_length is None else max_length - self._layout.num_special_tokens
        self._truncation: Truncation = truncation
        self._truncation_side: TruncationSide = truncation_side
        self._texts = TextTokenizer(
            tokenizer,
            max_kept=self._room,
            truncation_side=truncation_side,
            cache_bytes=cache_bytes,
        )

    @property
    def max_length(self) -> int | None:
        """Longest pair in tokens, special tokens included."""
        return self._max_length

    @property
    def layout(self) -> PairLayout:
        """The special tokens around a pair."""
        return self._layout

    @property
    def max_token_type(self) -> int:
        """Largest token type id that any token of a pair can have."""
        return self._layout.max_token_type

    @property
    def takes_instruction(self) -> bool:
        """Pairs have no place for an instruction."""
        return False

    def cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._texts.cache_statistics()

    def encode_pairs(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None = None
    ) -> list[TokenizedPair]:
        """Pair up `queries` and `documents` of equal length: one tokenized pair each, in order.

        Raises:
            InvalidArgumentError: there is an `instruction`, or truncation is "only_second" and a
                query leaves no room.
        """
        if instruction is not None:
            raise InvalidArgumentError(
                f"instruction={instruction!r}: this model reads a bare query and document, and was "
                "trained with no instruction; leave it out"
            )
        texts = self._texts.encode((*queries, *documents))
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

    def _cut(self, token_ids: Int32Array, num_kept: int) -> Int32Array:
        if self._truncation_side == "left":
            return token_ids[len(token_ids) - num_kept :]
        return token_ids[:num_kept]
