"""Sentences, passages and content words."""

from zen_fast.train.texts import content_words, cut_passages, split_sentences


def test_split_sentences_keeps_abbreviation_free_sentences() -> None:
    text = "Ice melts. Does it?  It does! Yes"
    assert split_sentences(text) == ["Ice melts.", "Does it?", "It does!", "Yes"]


def test_content_words_drops_question_words() -> None:
    query = "What causes the Earth's climate to change?"
    assert content_words(query) == ["causes", "earth's", "climate", "change"]


def test_cut_passages_keeps_every_sentence_in_order() -> None:
    text = "Cats sleep all day. Glaciers melt. Dogs bark at night. Ice floats."
    lengths = iter((6, 4, 9))
    passages = cut_passages(text, lambda: next(lengths))
    assert passages == ["Cats sleep all day. Glaciers melt.", "Dogs bark at night.", "Ice floats."]


def test_cut_passages_gives_a_long_sentence_a_passage_of_its_own() -> None:
    text = "One. Two three four five six seven. Eight."
    assert cut_passages(text, lambda: 2) == ["One.", "Two three four five six seven.", "Eight."]


def test_cut_passages_of_nothing_is_empty() -> None:
    assert cut_passages("  ", lambda: 2) == []
