"""Single texts → ids, each text once: a raw tokenizer behind a bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Encoding, Tokenizer

from zen_fast.tokenization.surrogates import original_positions, repaired
from zen_fast.tokenization.token_cache import TokenCache, TokenCacheStatistics, TokenizedText
from zen_fast.tokenization.truncation import TruncationSide

GROUP_CHARACTERS = 1 << 20
"""Characters encoded at once: an encoding holds some 100 bytes per token until its ids are read."""


class TextTokenizer:
    """Tokenizes texts without special tokens around them; safe under threads.

    The tokenizer is never changed after construction, so that any number of threads may encode at
    once. A text that UTF-8 cannot carry is repaired first: surrogate pairs are joined, and lone
    surrogates become U+FFFD (the stock tokenizer rejects them).

    Args:
        tokenizer: becomes this object's own; its padding and truncation are switched off.
        max_kept: tokens of a text that are worth keeping; None for all of them.
        truncation_side: which end of a longer text is cut off.
        cache_bytes: bound on the memory that remembers tokenized texts; 0 remembers none.
        keeps_places: keep texts whole, and where in them their tokens begin.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_kept: int | None,
        truncation_side: TruncationSide = "right",
        cache_bytes: int = 0,
        keeps_places: bool = False,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._max_kept = max_kept
        self._truncation_side: TruncationSide = truncation_side
        self._keeps_places = keeps_places
        self._cache = TokenCache(cache_bytes)

    def cache_statistics(self) -> TokenCacheStatistics:
        """Hits, misses and size of the token cache."""
        return self._cache.statistics()

    def encode(self, texts: Iterable[str]) -> dict[str, TokenizedText]:
        """Each distinct one of `texts`, tokenized."""
        distinct = dict.fromkeys(texts)
        known = self._cache.get(distinct)
        missing = [text for text in distinct if text not in known]
        if missing:
            fresh = dict(zip(missing, self._encode(missing), strict=True))
            self._cache.put(fresh.items())
            known.update(fresh)
        return known

    def _encode(self, texts: list[str]) -> list[TokenizedText]:
        encode, keep = self._tokenizer.encode_batch_fast, self._kept
        if self._keeps_places:
            # The fast one leaves out where the tokens stood.
            encode, keep = self._tokenizer.encode_batch, _whole
        return [
            keep(text, encoding)
            for group in _groups(texts)
            for text, encoding in zip(
                group,
                encode([repaired(text) for text in group], add_special_tokens=False),
                strict=True,
            )
        ]

    def _kept(self, text: str, encoding: Encoding) -> TokenizedText:
        """What is worth keeping of `text`."""
        token_ids = encoding.ids
        num_kept = len(token_ids) if self._max_kept is None else min(len(token_ids), self._max_kept)
        kept = token_ids[:num_kept]
        if self._truncation_side == "left":
            kept = token_ids[len(token_ids) - num_kept :]
        return TokenizedText(np.array(kept, dtype=np.int32), len(token_ids))


def _whole(text: str, encoding: Encoding) -> TokenizedText:
    """All of `text`, with the places of its tokens."""
    starts = np.array([start for start, _ in encoding.offsets], dtype=np.int32)
    positions = original_positions(text)
    if positions is not None:
        starts = positions[starts]
    return TokenizedText(np.array(encoding.ids, dtype=np.int32), len(starts), starts)


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """`texts` in order, in groups of bounded length."""
    group: list[str] = []
    num_characters = 0
    for text in texts:
        if group and num_characters + len(text) > GROUP_CHARACTERS:
            yield group
            group, num_characters = [], 0
        group.append(text)
        num_characters += len(text)
    if group:
        yield group
