"""Cutting texts: sentences, windows of a document around a query, content words."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")

_STOP_WORDS = """
a about all also am an and any are as at be been being between both but by can could describe
did do does doing during each explain few find for from further give had has have having he her
here hers him his how i if in into is it its itself just list many me might more most much must
my name no nor not now of off on once one only or other our out over own please same say she
should show so some such than that the their them then there these they this those through to
too under until up us very was we were what when where which while who whom whose why will with
would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def split_sentences(text: str) -> list[str]:
    """Split at sentence-ending punctuation followed by white space."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


def content_words(text: str) -> list[str]:
    """Lower-case words of a text that are not stop words, in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def best_window(sentences: Sequence[str], query: str, max_words: int) -> str:
    """The run of sentences, at most `max_words` long, that shares most words with the query.

    A first sentence longer than `max_words` is cut to it.
    """
    wanted = {word[:5] for word in content_words(query)}
    lengths = [len(sentence.split()) for sentence in sentences]
    found = [{word[:5] for word in content_words(text)} & wanted for text in sentences]
    best, best_overlap = (0, 1), -1
    for first in range(len(sentences)):
        last, words, shared = first, 0, set[str]()
        while last < len(sentences) and (last == first or words + lengths[last] <= max_words):
            words += lengths[last]
            shared |= found[last]
            last += 1
        if len(shared) > best_overlap:
            best, best_overlap = (first, last), len(shared)
    return " ".join(" ".join(sentences[slice(*best)]).split()[:max_words])
