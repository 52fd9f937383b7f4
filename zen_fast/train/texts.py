"""Cutting texts: sentences, passages of whole sentences, words that carry meaning."""

from __future__ import annotations

import re
from collections.abc import Callable

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


def keywords(text: str) -> str:
    """A query without its stop words, as people type it; whole where it has no other words."""
    return " ".join(content_words(text)) or text


def cut_passages(text: str, draw_words: Callable[[], int]) -> list[str]:
    """Cut a text between sentences into passages that together are the whole text.

    Args:
        draw_words: called for each passage's length in words; a passage is longer only where its
            one sentence is.
    """
    passages: list[list[str]] = []
    room = 0
    for sentence in split_sentences(text):
        num_words = len(sentence.split())
        if num_words > room:
            passages.append([])
            room = draw_words()
        passages[-1].append(sentence)
        room -= num_words
    return [" ".join(passage) for passage in passages]
