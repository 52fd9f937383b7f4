"""What every window's span must be, told from the tokenizer's ids alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from tiny_tokenizers import SENTENCES
from tokenizers import Tokenizer

from zen_fast.tokenization import PairTokenizer
from zen_fast.tokenization.windows import WindowSettings

WORDS = (
    *dict.fromkeys(" ".join(SENTENCES).split()),
    *("Cafe\u0301", "ǅungla", "ﬁne", "½", "①②③", "İstanbul", "ÅÄÖ", "x\u0308y\u0308", "ＦＵＬＬ"),
    *("😀👩\u200d👧", "é😀", "\ud83d\ude00", "a\ud83d\ude00b", "\ud800lone", "𝕫𝕖𝕟"),
)
"""Composed, decomposed, of several bytes, folded to another length, and with broken UTF-16."""

GAPS = (" ", "  ", "\n", " \t")


def assert_spans_show_the_words(make: Callable[[int], PairTokenizer], tokenizer: Tokenizer) -> None:
    """Check that a span ends exactly between words where its window does, and else within a word.

    Args:
        make: from max_length to a tokenizer that chunks, with the default overlap.
        tokenizer: the one it is made of.
    """
    rng = random.Random(0)
    num_between_words = 0
    for max_length in (11, 12, 20, 33):
        document, ends = "", [0]
        words = rng.choices(WORDS, k=60)
        for word in words:
            document += (rng.choice(GAPS) if document else "") + word
            ends.append(len(document))
        counts = [len(_ids(tokenizer, document[:end])) for end in ends]
        assert _ids(tokenizer, document)[: counts[30]] == _ids(tokenizer, document[: ends[30]])
        own = make(max_length)
        windows = own.encode_windows(["a"], [document])[0]
        longest = max_length - own.layout.num_special_tokens - len(_ids(tokenizer, "a"))
        slices = WindowSettings().cut(counts[-1], longest)
        assert len(windows) == len(slices) > 2
        for window, tokens in zip(windows, slices, strict=True):
            start, end = window.span
            first = max(index for index, count in enumerate(counts) if count <= tokens.start)
            last = min(index for index, count in enumerate(counts) if count >= tokens.stop) - 1
            if tokens.start == counts[first]:
                assert start == ends[first + 1] - len(words[first])
                num_between_words += 1
            else:
                assert ends[first + 1] - len(words[first]) <= start < ends[first + 1]
            if tokens.stop == counts[last + 1]:
                assert end == ends[last + 1]
                num_between_words += 1
            else:
                assert ends[last] <= end < ends[last + 1]
        assert windows[0].span[0] == 0
        assert windows[-1].span[1] == len(document)
        for one, next_one in pairwise(windows):
            assert not document[one.span[1] : next_one.span[0]].strip()
    assert num_between_words > 20


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return tokenizer.encode(text, add_special_tokens=False).ids
