"""Single texts → ids, each text once: a raw tokenizer behind a bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Tokenizer

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
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_kept: int | None,
        truncation_side: TruncationSide = "right",
        cache_bytes: int = 0,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._max_kept = max_kept
        self._truncation_side: TruncationSide = truncation_side
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
        return [
            self._kept(encoding.ids)
            for group in _groups(texts)
            for encoding in self._tokenizer.encode_batch_fast(group, add_special_tokens=False)
        ]

    def _kept(self, token_ids: list[int]) -> TokenizedText:
        num_kept = len(token_ids) if self._max_kept is None else min(len(token_ids), self._max_kept)
        kept = token_ids[:num_kept]
        if self._truncation_side == "left":
            kept = token_ids[len(token_ids) - num_kept :]
        return TokenizedText(np.array(kept, dtype=np.int32), len(token_ids))


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
