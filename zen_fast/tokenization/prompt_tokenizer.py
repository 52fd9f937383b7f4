"""Pairs of texts → prompts as ids, assembled so that only the document is ever cut."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from zen_fast.batching import Int32Array, TokenizedPair
from zen_fast.errors import InvalidArgumentError
from zen_fast.prompts.template import (
    PromptTemplate,
    filled,
    placeholders,
    split_at_document,
)
from zen_fast.tokenization.cut_warning import CutWarning
from zen_fast.tokenization.seams import independent_pieces
from zen_fast.tokenization.text_tokenizer import TextTokenizer
from zen_fast.tokenization.token_cache import TokenCacheStatistics, TokenizedText
from zen_fast.tokenization.truncation import Truncation, check_truncation

Filling = Mapping[str, str]
"""Placeholder → what takes its place in one prompt."""
Tokenized = Mapping[str, TokenizedText]

_NO_IDS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class _Surroundings:
    """All of a query's prompts but the piece with the document."""

    before: Int32Array
    after: Int32Array
    room: int
    """Tokens that the document's piece may have."""

    def prompt(self, document_piece: Int32Array) -> TokenizedPair:
        """The whole prompt, for the piece with the document."""
        token_ids = np.concatenate((self.before, document_piece, self.after))
        return TokenizedPair(token_ids, np.zeros_like(token_ids), len(self.before))


class PromptTokenizer:
    """Fills a template with pairs of texts, tokenized exactly as its parts would be.

    Safe under threads; a text that UTF-8 cannot carry is repaired, see `TextTokenizer`. The first
    call that cuts documents off logs a warning, and so does the first that cuts queries.

    Args:
        tokenizer: becomes this object's own; its padding and truncation are switched off.
        template: the prompt.
        bos_id: token that comes first; None for none.
        eos_id: token that comes last; None for none.
        max_length: longest prompt in tokens; None for the template's own limit.
        longest_supported: what bounds that limit in turn; None for nothing.
        truncation: "only_second" never cuts a query. "longest_first" cuts one that is longer than
            the template's share for it, as the template's authors do; else only the document.
        cache_bytes: bound on the memory that remembers tokenized texts; 0 remembers none.

    Raises:
        InvalidArgumentError: `max_length` leaves no room beside the template's own text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: PromptTemplate,
        *,
        bos_id: int | None = None,
        eos_id: int | None = None,
        max_length: int | None = None,
        longest_supported: int | None = None,
        truncation: Truncation = "longest_first",
        cache_bytes: int = 0,
    ) -> None:
        check_truncation(truncation)
        self._truncation: Truncation = truncation
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._template = template
        self._bos = _NO_IDS if bos_id is None else np.array([bos_id], dtype=np.int32)
        self._eos = _NO_IDS if eos_id is None else np.array([eos_id], dtype=np.int32)
        uncounted = template.uncounted_frames * _frame_length(template, tokenizer)
        if max_length is None:
            own = None if template.max_length is None else template.max_length + uncounted
            max_length = min(filter(None, (own, longest_supported)), default=None)
        self._max_length = max_length
        self._limit = sys.maxsize if max_length is None else max_length
        self._counted_limit = self._limit - uncounted
        self._query_limit: int | None = None
        if truncation == "longest_first" and template.query_share < 1:
            self._query_limit = int(self._counted_limit * template.query_share)
        self._texts = TextTokenizer(tokenizer, max_kept=max_length, cache_bytes=cache_bytes)
        pieces = [piece for part in template.parts for piece in _pieces(part, tokenizer)]
        index = next(i for i, piece in enumerate(pieces) if "document" in placeholders(piece))
        self._before, self._document = pieces[:index], pieces[index]
        self._after = pieces[index + 1 :]
        self._check_room()
        self._document_warning = CutWarning(
            "documents", " of their prompt", "a larger max_length reads more of them"
        )
        self._query_warning = CutWarning(
            "queries", " to their share of it", 'truncation="only_second" never cuts one'
        )

    @property
    def template(self) -> PromptTemplate:
        """The prompt."""
        return self._template

    @property
    def max_length(self) -> int | None:
        """Longest prompt in tokens, the template's own included."""
        return self._max_length

    @property
    def truncation(self) -> Truncation:
        """Whether a query beyond its share is cut."""
        return self._truncation

    @property
    def max_token_type(self) -> int:
        """Largest token type id of any token: prompts have none but 0."""
        return 0

    @property
    def takes_instruction(self) -> bool:
        """Whether the template has a place for an instruction."""
        return self._template.takes_instruction

    def cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._texts.cache_statistics()

    def encode_pairs(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None = None
    ) -> list[TokenizedPair]:
        """Pair up `queries` and `documents` of equal length: one prompt each, in order.

        Args:
            instruction: takes the place of the template's default instruction.

        Raises:
            InvalidArgumentError: the template has no place for an instruction, or needs one, or a
                query leaves no room for its document.
        """
        instruction = self._template.instruction_text(instruction)
        fillings = [
            {"instruction": instruction, "query": query, "document": document}
            for query, document in zip(queries, documents, strict=True)
        ]
        by_query = {filling["query"]: filling for filling in fillings}
        texts = self._texts.encode(
            (
                *(text for filling in by_query.values() for text in self._fixed_texts(filling)),
                *(filled(self._document, filling) for filling in fillings),
            )
        )
        around = {query: self._surroundings(filling, texts) for query, filling in by_query.items()}
        too_long = [
            filling
            for filling in fillings
            if texts[filled(self._document, filling)].num_tokens > around[filling["query"]].room
        ]
        self._document_warning.tell(len(too_long), len(fillings), self._max_length)
        num_cut = sum(self._cuts_query(filling, texts) for filling in by_query.values())
        self._query_warning.tell(num_cut, len(by_query), self._max_length)
        texts |= self._texts.encode(
            text for each in too_long for text in self._cut_texts(each) if text not in texts
        )
        return [
            around[filling["query"]].prompt(
                self._document_ids(around[filling["query"]].room, filling, texts)
            )
            for filling in fillings
        ]

    def _fixed_texts(self, filling: Filling) -> list[str]:
        """The pieces of a query's prompts that have no document in them."""
        return [filled(piece, filling) for piece in (*self._before, *self._after)]

    def _cut_texts(self, filling: Filling) -> tuple[str, str, str]:
        """What of the document's piece may be cut, what of that must stay, and what follows it."""
        lead, tail = (filled(text, filling) for text in split_at_document(self._document))
        return lead + filling["document"], lead, tail

    def _surroundings(self, filling: Filling, texts: Tokenized) -> _Surroundings:
        before = [self._fixed_ids(piece, filling, texts) for piece in self._before]
        after = [self._fixed_ids(piece, filling, texts) for piece in self._after]
        num_fixed = sum(map(len, (self._bos, *before, *after, self._eos)))
        return _Surroundings(
            before=np.concatenate((self._bos, *before)),
            after=np.concatenate((*after, self._eos)),
            room=min(self._limit - num_fixed, self._counted_limit),
        )

    def _fixed_ids(self, piece: str, filling: Filling, texts: Tokenized) -> Int32Array:
        token_ids = texts[filled(piece, filling)].token_ids
        return token_ids[: self._query_limit] if "query" in placeholders(piece) else token_ids

    def _cuts_query(self, filling: Filling, texts: Tokenized) -> bool:
        return any(
            len(self._fixed_ids(piece, filling, texts)) < texts[filled(piece, filling)].num_tokens
            for piece in (*self._before, *self._after)
        )

    def _document_ids(self, room: int, filling: Filling, texts: Tokenized) -> Int32Array:
        """The document's piece in `room` tokens: the document's end gives way, not what follows."""
        whole = texts[filled(self._document, filling)]
        if whole.num_tokens <= room:
            return whole.token_ids
        document, lead, tail = (texts[text] for text in self._cut_texts(filling))
        num_kept = room - tail.num_tokens
        if num_kept <= lead.num_tokens:
            raise InvalidArgumentError(
                f"a query of {len(filling['query'])} characters leaves nothing of its document "
                f"within the {self._max_length} tokens of a prompt: shorten the query or the "
                "instruction, or raise max_length"
            )
        return np.concatenate((document.token_ids[:num_kept], tail.token_ids))

    def _check_room(self) -> None:
        empty = {"instruction": "", "query": "", "document": ""}
        pieces = [*self._fixed_texts(empty), filled(self._document, empty)]
        texts = self._texts.encode(pieces)
        needed = len(self._bos) + len(self._eos) + sum(texts[text].num_tokens for text in pieces)
        least = 1 + max(needed, self._limit - self._counted_limit)
        if self._limit < least:
            raise InvalidArgumentError(
                f"max_length={self._max_length} leaves no room for query and document: this "
                f"model's prompt has {needed} tokens of its own, so max_length must be at least "
                f"{least}"
            )


def _pieces(part: str, tokenizer: Tokenizer) -> list[str]:
    """`part` as it is, unless it would make a document's ids depend on the query."""
    is_shared = "document" in (names := placeholders(part)) and len(names) > 1
    return independent_pieces(part, tokenizer) if is_shared else [part]


def _frame_length(template: PromptTemplate, tokenizer: Tokenizer) -> int:
    """Tokens of the parts before the first and after the last that a query or document is in."""

    def leading(parts: Iterable[str]) -> Iterable[str]:
        for part in parts:
            if placeholders(part) & {"query", "document"}:
                return
            yield part

    frame = (*leading(template.parts), *leading(reversed(template.parts)))
    return sum(
        len(tokenizer.encode(part, add_special_tokens=False).ids)
        for part in frame
        if not placeholders(part)
    )
