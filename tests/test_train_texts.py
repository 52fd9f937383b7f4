"""Sentences, windows and content words."""

from zen_fast.train.texts import best_window, content_words, split_sentences


def test_split_sentences_keeps_abbreviation_free_sentences() -> None:
    text = "Ice melts. Does it?  It does! Yes"
    assert split_sentences(text) == ["Ice melts.", "Does it?", "It does!", "Yes"]


def test_content_words_drops_question_words() -> None:
    query = "What causes the Earth's climate to change?"
    assert content_words(query) == ["causes", "earth's", "climate", "change"]


def test_best_window_finds_overlapping_sentence() -> None:
    sentences = ["Cats sleep all day.", "Glaciers melt when climates change.", "Dogs bark."]
    assert best_window(sentences, "Why do glaciers melt?", max_words=6) == sentences[1]


def test_best_window_without_overlap_starts_at_the_beginning() -> None:
    sentences = ["One two three.", "Four five six.", "Seven eight nine."]
    assert best_window(sentences, "unrelated", max_words=6) == "One two three. Four five six."


def test_best_window_cuts_long_sentence() -> None:
    assert best_window(["a b c d e f"], "query", max_words=4) == "a b c d"
