"""Where a template may be cut, so that its pieces have the ids of the whole whatever the texts.

A document's ids can be remembered across queries only if no token reaches over the seam before it.
That holds by proof, for the tokenizers below, or it is not made use of:

- No token crosses a stretch of the pre-tokenizer's. Each pattern below matches from left to right
  without looking back, and none of its alternatives goes on from a non-space into a space. So a
  stretch ends before a space that follows a non-space, and what comes after it is cut up as if it
  stood alone. (`\\s+(?!\\S)` looks ahead, but only from inside white space.)
- Unicode normal forms and SentencePiece's table never join a space to the character before it.
- A special token is taken out of the text first, and what is on either side stands alone.
- No added token has the first character after the seam anywhere but as its own first one, so none
  can lie across it, and none takes the white space after it along.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import AddedToken, Tokenizer

from zen_fast.tokenization.language_model_tokenizers import QWEN2_PATTERN

LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

_DOCUMENT = "{document}"
_SPACE_AFTER_TEXT = re.compile(r"(?<=[^\s{}]) ")


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


_WHOLE_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_PROVEN_PRE_TOKENIZERS: tuple[list[dict[str, Any]], ...] = (
    [_split(QWEN2_PATTERN), _WHOLE_BYTES],
    [_split(LLAMA3_PATTERN), _WHOLE_BYTES],
    [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}],
    [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "always"}],
)
_PROVEN_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD", "Precompiled")


def independent_pieces(part: str, tokenizer: Tokenizer) -> list[str]:
    """Cut a template's `part` into pieces whose ids, one after another, are those of the whole.

    The piece with {document} is as short as can be proven for `tokenizer`: it reaches from a
    special token or the space after a word up to the next special token.
    """
    added = list(tokenizer.get_added_tokens_decoder().values())
    if not _is_proven(tokenizer) or any(token.rstrip for token in added):
        return [part]
    document_start = part.index(_DOCUMENT)
    start, stop = 0, len(part)
    for special_start, special_stop in _special_tokens(part, added, tokenizer):
        if special_stop <= document_start:
            start = special_stop
        else:
            stop = special_start
            break
    if not _may_straddle(" ", added):
        words_start = max(start, part.rfind("}", 0, document_start) + 1)
        for space in _SPACE_AFTER_TEXT.finditer(part, words_start, document_start):
            start = space.start()
    return [piece for piece in (part[:start], part[start:stop], part[stop:]) if piece]


def _is_proven(tokenizer: Tokenizer) -> bool:
    normalizer = _state(tokenizer.normalizer)
    if normalizer is not None and normalizer["type"] not in _PROVEN_NORMALIZERS:
        return False
    state = _state(tokenizer.pre_tokenizer) or {}
    steps = state.get("pretokenizers", [state])
    return any(
        len(steps) == len(proven)
        and all(known.items() <= step.items() for known, step in zip(proven, steps, strict=True))
        for proven in _PROVEN_PRE_TOKENIZERS
    )


def _state(component: Any) -> dict[str, Any] | None:
    """What a part of a tokenizer would be in tokenizer.json."""
    if component is None:
        return None
    state: dict[str, Any] = json.loads(component.__getstate__())
    return state


def _special_tokens(
    part: str, added: list[AddedToken], tokenizer: Tokenizer
) -> list[tuple[int, int]]:
    """Start and stop of those special tokens in `part` that are found there whatever is around."""
    if tokenizer.encode_special_tokens or not added:
        return []
    by_content = {token.content: token for token in added}
    longest_first = sorted(by_content, key=len, reverse=True)
    found = re.finditer("|".join(map(re.escape, longest_first)), part)
    return [
        match.span()
        for match in found
        if (token := by_content[match.group()]).special
        and not (token.lstrip or token.single_word or token.normalized)
        and not _may_straddle(match.group()[0], added)
    ]


def _may_straddle(first: str, added: list[AddedToken]) -> bool:
    """Whether an added token could begin before a seam and reach into a text from `first` on."""
    return any(first in token.content[1:] for token in added)
