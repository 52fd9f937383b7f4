"""Pairs of token ids, assembled as the stock tokenizer would: [CLS] query [SEP] document [SEP]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from zen_fast.train.vocabulary import token_id

Pair = tuple[list[int], int]
"""Token ids of a pair, and how many of them belong to [CLS] query [SEP]."""


@dataclass(frozen=True)
class PairEncoder:
    """Encodes a query with its documents; a long query and then the document are cut."""

    tokenizer: Tokenizer
    max_query_length: int
    max_length: int

    def encode(self, query: str, documents: Sequence[str]) -> list[Pair]:
        """One pair per document, at most `max_length` ids each."""
        cls_id = token_id(self.tokenizer, "[CLS]")
        sep_id = token_id(self.tokenizer, "[SEP]")
        query_ids, *document_ids = (
            encoding.ids
            for encoding in self.tokenizer.encode_batch(
                [query, *documents], add_special_tokens=False
            )
        )
        head = [cls_id, *query_ids[: self.max_query_length], sep_id]
        room = self.max_length - len(head) - 1
        return [([*head, *ids[:room], sep_id], len(head)) for ids in document_ids]
