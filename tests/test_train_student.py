"""Each step that makes the student, on a random encoder: what it promises, measured."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from toy_training import toy_recipe, toy_tokenizer
from transformers import BertConfig, BertForSequenceClassification, BertModel

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.candidate_lists import CandidateList, rated_lists
from zen_fast.train.errors import ResumeError
from zen_fast.train.loss import Ratings, list_loss
from zen_fast.train.pairs import Pair, PairEncoder
from zen_fast.train.student import distillation as distillation_module
from zen_fast.train.student.calibration import calibrate
from zen_fast.train.student.cosine_layer import add_cosine_layer
from zen_fast.train.student.cutting import thin_feed_forwards
from zen_fast.train.student.distillation import Embed, SegmentDistillation, segment_means
from zen_fast.train.student.material import Material
from zen_fast.train.student.pattern import (
    attention_mask,
    is_query_independent,
    set_attention_pattern,
)
from zen_fast.train.student.reading import read_logits
from zen_fast.train.student.sample import read_sample
from zen_fast.train.student.segments import (
    Reserved,
    keep_segments_apart,
    restore_flags,
    separate_segments,
)
from zen_fast.train.student.word_match import add_word_match, least_used_head, word_weights
from zen_fast.train.token_table import TokenTable

WORDS = [
    "otter",
    "heron",
    "badger",
    "weasel",
    "falcon",
    "salmon",
    "beaver",
    "lizard",
    "lives",
    "near",
    "water",
    "number",
    "eats",
]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return toy_tokenizer()


@pytest.fixture
def encoder(tokenizer: Tokenizer) -> BertModel:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=240,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    )
    encoder = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():  # as in trained models, words differ more than places
        encoder.embeddings.position_embeddings.weight *= 0.2
    return encoder


@pytest.fixture(params=["full", "query_independent"])
def either(encoder: BertModel, request: pytest.FixtureRequest) -> BertModel:
    """An encoder of either attention pattern."""
    set_attention_pattern(encoder.config, request.param)
    return encoder


def _texts(count: int, seed: int, length: int = 8) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(count)]


def _pairs(tokenizer: Tokenizer, count: int = 80) -> list[Pair]:
    encode = PairEncoder(tokenizer, 16, 48).encode
    return [
        encode(query, [document])[0]
        for query, document in zip(_texts(count, 1, 4), _texts(count, 2, 9), strict=True)
    ]


def _separate(encoder: BertModel, tokenizer: Tokenizer) -> Reserved:
    return separate_segments(encoder, lambda: _means(encoder, tokenizer, _texts(16, 5)))


def _means(encoder: BertModel, tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """(2, num_texts, hidden) of texts as queries and as documents, each paired with itself."""
    means = torch.empty(2, len(texts), encoder.config.hidden_size)
    with torch.no_grad():
        for places, *some in segment_means(encoder, tokenizer, texts, texts, toy_recipe()):
            means[:, places] = torch.stack(some)
    return means


def _query_states(encoder: BertModel, ids: list[int], query_length: int) -> torch.Tensor:
    return read_sample(encoder, [(ids, query_length)]).states[:query_length]


def test_thin_feed_forwards_keeps_the_neurons_that_contribute(
    encoder: BertModel, tokenizer: Tokenizer
) -> None:
    wide = copy.deepcopy(encoder)
    for layer in wide.encoder.layer:  # every third neuron says nothing
        layer.output.dense.weight.data[:, ::3] = 0

    def means(model: BertModel) -> torch.Tensor:
        return _means(model, tokenizer, _texts(9, 1))

    thin = thin_feed_forwards(wide, 160, lambda: means(wide))
    assert thin.config.intermediate_size == 160
    assert wide.config.intermediate_size == 240
    torch.testing.assert_close(means(thin), means(wide), rtol=1e-4, atol=1e-5)
    thinner = thin_feed_forwards(wide, 80, lambda: means(wide))
    assert not torch.allclose(means(thinner), means(wide), rtol=1e-2)


def _influence(encoder: BertModel, tokenizer: Tokenizer) -> float:
    """How much the document changes what the query's tokens become."""
    encode = PairEncoder(tokenizer, 16, 48).encode
    (first, length), (second, _) = encode("otter eats salmon", _texts(2, 7, 12))
    states = _query_states(encoder, first, length)
    return float((states - _query_states(encoder, second, length)).norm() / states.norm())


def test_separate_segments_hides_the_document_from_the_query(
    encoder: BertModel, tokenizer: Tokenizer
) -> None:
    before = _influence(encoder, tokenizer)
    reserved = _separate(encoder, tokenizer)
    assert _influence(encoder, tokenizer) < before / 10
    moved = encoder.encoder.layer[1].output.dense
    with torch.no_grad():
        moved.weight += 1.0
        moved.bias += 1.0
    keep_segments_apart(encoder, reserved)
    assert moved.weight[reserved.all, :-4].abs().max() == 0  # the last four keep a size
    assert moved.bias[reserved.all].abs().max() == 0


def test_segment_coordinates_are_set_or_unset_behind_norms_of_any_deviation(
    encoder: BertModel, tokenizer: Tokenizer
) -> None:
    with torch.no_grad():  # tokens of many sizes
        words = encoder.embeddings.word_embeddings.weight
        words *= torch.rand(len(words), 1) * 1.5 + 0.5
    reserved = _separate(encoder, tokenizer)
    sample = read_sample(encoder, _pairs(tokenizer))
    for segment in (0, 1):
        there = sample.segments == segment
        own, other = reserved.segments[segment], reserved.segments[1 - segment]
        for states in (sample.embedded[there], sample.states[there]):
            torch.testing.assert_close(
                states[:, other], states[:, reserved.unset], rtol=0, atol=1e-3
            )
            flags = states[:, own] - states[:, reserved.unset]
            assert flags.mean() == pytest.approx(3.0, rel=0.2)
            assert flags.min() > 1.0


def test_restore_flags_hides_it_again_where_training_has_changed_the_deviations(
    encoder: BertModel, tokenizer: Tokenizer
) -> None:
    reserved = _separate(encoder, tokenizer)
    apart = _influence(encoder, tokenizer)
    with torch.no_grad():
        for layer in encoder.encoder.layer:
            layer.output.dense.weight *= 8
    keep_segments_apart(encoder, reserved)
    assert _influence(encoder, tokenizer) > 3 * apart
    for _ in range(2):  # what is restored stays
        restore_flags(encoder, reserved, lambda: _means(encoder, tokenizer, _texts(16, 5)))
        assert _influence(encoder, tokenizer) < 1.5 * apart


class _Base:
    """A base model of its own opinion about twelve texts."""

    texts = _texts(12, 11)
    embeddings = np.random.default_rng(0).standard_normal((12, 96)).astype(np.float32)

    def draw(self, step: int) -> tuple[list[str], list[str]]:
        return self.texts, self.texts[::-1]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return self.embeddings[[self.texts.index(text) for text in texts]]


def _distillation(
    encoder: BertModel, tokenizer: Tokenizer, reserved: Reserved, steps: int, checkpoint: Path
) -> SegmentDistillation:
    recipe = replace(toy_recipe(), distillation_steps=steps, distillation_learning_rate=3e-3)
    base = _Base()
    return SegmentDistillation(
        encoder, reserved, tokenizer, base.draw, base.embed, recipe, checkpoint
    )


def test_distillation_brings_segment_means_to_the_embeddings(
    encoder: BertModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    reserved = _separate(encoder, tokenizer)

    def similarity() -> float:
        means = _means(encoder, tokenizer, _Base.texts)
        wanted = torch.from_numpy(_Base.embeddings)[None]
        return float(functional.cosine_similarity(means, wanted, dim=2).mean())

    before = similarity()
    distillation = _distillation(encoder, tokenizer, reserved, 60, tmp_path / "state.pt")
    distillation.run()
    assert similarity() > before + 0.3
    assert distillation.losses[-1] < distillation.losses[0] - 0.3
    assert encoder.embeddings.word_embeddings.weight.grad is None


def test_distillation_that_is_interrupted_goes_on_to_the_same_end(
    encoder: BertModel, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation_module, "CHECKPOINT_EVERY", 3)
    reserved = _separate(encoder, tokenizer)
    again = copy.deepcopy(encoder)
    whole = _distillation(encoder, tokenizer, reserved, 8, tmp_path / "whole.pt")
    whole.run()

    state = tmp_path / "halted.pt"
    halted = _distillation(again, tokenizer, reserved, 8, state)
    monkeypatch.setattr(halted, "_embed", _Interrupting(_Base().embed, after=9))
    with pytest.raises(KeyboardInterrupt):
        halted.run()
    with pytest.raises(
        ResumeError,
        match=r"halted\.pt is of a recipe with other values of \['distillation_steps'\]",
    ):
        _distillation(again, tokenizer, reserved, 9, state)
    resumed = _distillation(again, tokenizer, reserved, 8, state)
    assert len(resumed.losses) == 3
    resumed.run()
    assert resumed.losses == whole.losses
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


class _Interrupting:
    """Embeds `after` times; then the user has had enough."""

    def __init__(self, embed: Embed, after: int) -> None:
        self._embed = embed
        self._left = after

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._embed(texts)


def test_segment_means_are_alike_alone_and_in_a_batch(
    encoder: BertModel, tokenizer: Tokenizer
) -> None:
    texts = [*_texts(30, 3, 40), *_texts(5, 4, 3)]
    means = _means(encoder, tokenizer, texts)
    for place, text in enumerate(texts):
        alone = _means(encoder, tokenizer, [text])[:, 0]
        torch.testing.assert_close(alone, means[:, place], rtol=1e-4, atol=1e-5)


def test_material_is_drawn_from_the_split_and_the_same_for_the_same_step() -> None:
    document = CollectionDocument("Title", "One two three. Four five six seven. Eight nine.")
    collection = Collection("toy", {"d": document}, {"q": "Where is the otter?"}, {"q": {"d": 1}})
    recipe = replace(toy_recipe(), distillation_texts=80, passage_words=(2, 4), keyword_share=0.5)
    material = Material([collection], recipe)
    queries, passages = material.draw(3)
    assert (queries, passages) == material.draw(3) != material.draw(4)
    assert len(queries) == len(passages) == 40
    sentences = {"One two three.", "Four five six seven.", "Eight nine."}
    assert set(queries) == {"Where is the otter?", "otter", *sentences}
    bodies = {passage.removeprefix("Title ") for passage in passages}
    assert bodies <= {
        "One two",
        "One two three. Four",
        "Four five",
        "Four five six seven.",
        "Eight nine.",
    }
    assert len(bodies) == 5
    assert 0 < sum(passage.startswith("Title ") for passage in passages) < 40


def test_word_match_marks_what_the_other_segment_repeats(
    either: BertModel, tokenizer: Tokenizer
) -> None:
    reserved = _separate(either, tokenizer)
    pairs = _pairs(tokenizer)
    weights = torch.full((tokenizer.get_vocab_size(),), 6.0)
    head = least_used_head(either, pairs[:8])
    add_word_match(either, reserved, tokenizer, weights, read_sample(either, pairs), head)
    repeated, other = [], []
    for ids, length in pairs:
        with torch.inference_mode():
            marks = _first_layer(either, ids, length)[:, reserved.words].tolist()
        query, document = slice(1, length - 1), slice(length, len(ids) - 1)
        marked, searched = query, document
        if is_query_independent(either.config):
            marked, searched = document, query
        for token, mark in zip(ids[marked], marks[marked], strict=True):
            (repeated if token in ids[searched] else other).append(mark)
    assert len(repeated) > 100
    assert np.mean(repeated) > 3 * abs(np.mean(other))


def _first_layer(encoder: BertModel, ids: list[int], query_length: int) -> torch.Tensor:
    """(num_tokens, hidden) states behind the first layer."""
    in_head = torch.arange(len(ids))[None] < query_length
    output = encoder(
        input_ids=torch.tensor([ids]),
        token_type_ids=(~in_head).long(),
        attention_mask=attention_mask(encoder.config, torch.ones_like(in_head), in_head),
        output_hidden_states=True,
    )
    return output.hidden_states[1][0]


def test_word_weights_fall_with_frequency(tokenizer: Tokenizer) -> None:
    weights = word_weights(tokenizer, ["the otter", "the heron", "the water"])
    the, otter, lizard = (
        float(weights[tokenizer.token_to_id(word)]) for word in ("the", "otter", "lizard")
    )
    assert 0 < the < otter < lizard


def test_cosine_layer_computes_the_cosine_of_the_segments_means(
    either: BertModel, tokenizer: Tokenizer
) -> None:
    reserved = _separate(either, tokenizer)
    sample = read_sample(either, _pairs(tokenizer))
    student, features = add_cosine_layer(either, reserved, sample)
    means = sample.segment_means().index_fill(1, torch.tensor(reserved.all), 0.0)
    cosines = functional.cosine_similarity(means[::2], means[1::2], dim=1)
    states = read_sample(student.bert, _pairs(tokenizer)).scored_states(student.config)
    computed = states[:, features.cosine].mean(dim=1)
    assert np.corrcoef(computed.numpy(), cosines.numpy())[0, 1] > 0.95


def test_calibrate_lowers_the_loss_and_reports_it(either: BertModel, tokenizer: Tokenizer) -> None:
    recipe = toy_recipe()
    reserved = _separate(either, tokenizer)
    student, features = add_cosine_layer(either, reserved, read_sample(either, _pairs(tokenizer)))
    documents = [_texts(recipe.num_candidates, seed) for seed in range(8)]
    pairs = PairEncoder(tokenizer, 16, 48)
    lists = []
    for query, texts in zip(_texts(8, 50, 4), documents, strict=True):
        means = read_sample(student.bert, pairs.encode(query, texts)).segment_means()
        cosines = functional.cosine_similarity(means[::2], means[1::2], dim=1).tolist()
        grades = [int(cosine == max(cosines)) for cosine in cosines]
        lists.append(CandidateList(query, texts, grades, cosines, cosines))
    before = _loss(student, lists, tokenizer)
    reported = calibrate(student, features, lists, pairs, recipe)
    after = _loss(student, lists, tokenizer)
    assert after < before
    assert after == pytest.approx(reported, abs=0.05)  # a tanh lies between the two


def _loss(
    student: BertForSequenceClassification, lists: list[CandidateList], tokenizer: Tokenizer
) -> float:
    rated = rated_lists(lists)
    tokens = TokenTable(tokenizer, rated.table.texts, 16, 48)
    with torch.inference_mode():
        logits = read_logits(student, tokens, *rated.table.pairs(slice(None)))
    logits = logits.view(len(lists), -1)
    return float(list_loss(logits, Ratings.of(rated), toy_recipe()))
