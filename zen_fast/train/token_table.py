"""Texts tokenized once, and padded batches of pairs gathered from them on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from zen_fast.train.vocabulary import token_id

Indices = NDArray[np.integer[Any]]

_TEXTS_AT_ONCE = 4096
# Rows of the table that are no text's.
_PAD, _CLS, _SEP = 0, 1, 2
_NUM_SPECIAL = 3
_TOKENS_PER_FORWARD = {"cpu": 1024, "cuda": 32768}
"""Padded: as many as fill the device, and on a CPU as fit its cache."""
_LENGTH_STEP = {"cpu": 1, "cuda": 16}
"""Padded lengths are multiples: attention kernels want that of a mask, and memory is reused."""


@dataclass(frozen=True)
class PaddedPairs:
    """Pairs [CLS] query [SEP] document [SEP], behind each as much padding as the longest has not.

    Everything is on the table's device.
    """

    input_ids: Tensor
    """(num_pairs, longest) int64"""
    head_lengths: Tensor
    """(num_pairs, 1) int64, tokens of [CLS] query [SEP]"""
    lengths: Tensor
    """(num_pairs, 1) int64, tokens of the pair"""

    @property
    def is_token(self) -> Tensor:
        """(num_pairs, longest) bool, False in the padding."""
        return self._places < self.lengths

    @property
    def in_head(self) -> Tensor:
        """(num_pairs, longest) bool, True in [CLS] query [SEP]."""
        return self._places < self.head_lengths

    @property
    def token_type_ids(self) -> Tensor:
        """(num_pairs, longest) int64, 1 in document [SEP]."""
        return (self.is_token & ~self.in_head).long()

    @property
    def _places(self) -> Tensor:
        return torch.arange(self.input_ids.shape[1], device=self.input_ids.device)


class TokenTable:
    """The token ids of texts, end to end on one device.

    Args:
        max_query_length: tokens of a query that are read, before the document is cut; None cuts
            whichever is longer, as the stock tokenizer does.
        max_length: of a pair, special tokens included.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        max_query_length: int | None,
        max_length: int,
        device: str | torch.device = "cpu",
    ) -> None:
        self._device = torch.device(device)
        self._max_query_length = max_query_length
        self._max_length = max_length
        special = [token_id(tokenizer, token) for token in ("[PAD]", "[CLS]", "[SEP]")]
        parts = [np.array(special, np.int32)]
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            some = list(texts[start : start + _TEXTS_AT_ONCE])
            parts += [
                np.array(encoding.ids[:max_length], np.int32)
                for encoding in tokenizer.encode_batch_fast(some, add_special_tokens=False)
            ]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        self._starts: Indices = ends[:-1]
        self._lengths: Indices = np.diff(ends)
        self._tokens = torch.from_numpy(np.concatenate(parts)).to(self._device)

    def batches(
        self, queries: Indices, documents: Indices
    ) -> Iterator[tuple[Indices, PaddedPairs]]:
        """Padded batches of similar lengths, longest first, each with its places among the pairs.

        Args:
            queries, documents: (num_pairs,) the texts' numbers.
        """
        query_lengths, document_lengths = self._kept(queries, documents)
        head_lengths = query_lengths + 2
        lengths = head_lengths + document_lengths + 1
        spans = np.stack([self._starts[queries], head_lengths, self._starts[documents], lengths])
        order = np.argsort(-lengths, kind="stable")
        step = _LENGTH_STEP[self._device.type]
        while len(order):
            longest = -(-int(lengths[order[0]]) // step) * step
            num_pairs = max(1, _TOKENS_PER_FORWARD[self._device.type] // longest)
            batch, order = order[:num_pairs], order[num_pairs:]
            yield batch, self._gather(spans[:, batch], longest)

    def _kept(self, queries: Indices, documents: Indices) -> tuple[Indices, Indices]:
        """Tokens that are read of each query and of each document."""
        room = self._max_length - _NUM_SPECIAL
        query, document = self._lengths[queries], self._lengths[documents]
        if self._max_query_length is not None:
            query = np.minimum(query, self._max_query_length)
            return query, np.minimum(document, room - query)
        # Of two long texts the halves are read; a short one leaves its half's rest to the other.
        half = room // 2
        return (
            np.minimum(query, np.maximum(room - document, half + room % 2 * (query > document))),
            np.minimum(document, np.maximum(room - query, half + room % 2 * (query <= document))),
        )

    def _gather(self, spans: Indices, longest: int) -> PaddedPairs:
        on_device = torch.from_numpy(spans).to(self._device, non_blocking=True)
        query_starts, head_lengths, document_starts, lengths = on_device[:, :, None]
        places = torch.arange(longest, device=self._device)
        rows = torch.where(
            places < head_lengths,
            query_starts + places - 1,
            document_starts + places - head_lengths,
        )
        rows = rows.masked_fill((places == head_lengths - 1) | (places == lengths - 1), _SEP)
        rows = rows.masked_fill(places >= lengths, _PAD)
        rows[:, 0] = _CLS
        return PaddedPairs(self._tokens[rows].long(), head_lengths, lengths)
