"""From a cut bi-encoder to a cross-encoder that already ranks as its two teachers do."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, BertModel

from zen_fast.train.candidate_lists import CandidateList
from zen_fast.train.pairs import PairEncoder
from zen_fast.train.recipe import Recipe
from zen_fast.train.student.calibration import calibrate
from zen_fast.train.student.cosine_layer import add_cosine_layer
from zen_fast.train.student.cutting import thin_feed_forwards
from zen_fast.train.student.distillation import Draw, Embed, SegmentDistillation, segment_means
from zen_fast.train.student.sample import read_sample
from zen_fast.train.student.segments import Reserved, restore_flags, separate_segments
from zen_fast.train.student.word_match import add_word_match, least_used_head, word_weights

logger = logging.getLogger(__name__)

_SAMPLE_PAIRS = 240
_HEAD_PAIRS = 60
_CALIBRATION_LISTS = 200
_WEIGHT_LISTS = 3000


def make_student(
    encoder: BertModel,
    tokenizer: Tokenizer,
    lists: Sequence[CandidateList],
    draw: Draw,
    embed: Embed,
    recipe: Recipe,
    device: str,
    checkpoint: Path,
) -> tuple[BertForSequenceClassification, Reserved]:
    """Go through the steps that the package's page names.

    Args:
        encoder: cut from the base model; not to be used any more.
        lists: the training lists.
        draw, embed, checkpoint: of the distillation.
        device: where to distill; all else is quick and done on the CPU.
    """
    typical = draw(0)

    def read_typical() -> None:  # by the encoder as it is by then
        deque(segment_means(encoder, tokenizer, *typical, recipe), maxlen=0)

    if recipe.feed_forward_size:
        encoder = thin_feed_forwards(encoder, recipe.feed_forward_size, read_typical)
    reserved = separate_segments(encoder, read_typical)
    encoder.to(device)  # type: ignore[arg-type]
    SegmentDistillation(encoder, reserved, tokenizer, draw, embed, recipe, checkpoint).run()
    encoder.to("cpu")  # type: ignore[arg-type]
    encoder.train(False)
    restore_flags(encoder, reserved, read_typical)
    pairs = PairEncoder(tokenizer, recipe.max_query_length, recipe.max_length)
    sample_pairs = [
        pairs.encode(item.query, [item.documents[index % len(item.documents)]])[0]
        for index, item in enumerate(lists[:_SAMPLE_PAIRS])
    ]
    shown = [text for item in lists[:_WEIGHT_LISTS] for text in item.documents]
    add_word_match(
        encoder,
        reserved,
        tokenizer,
        word_weights(tokenizer, shown),
        read_sample(encoder, sample_pairs),
        least_used_head(encoder, sample_pairs[:_HEAD_PAIRS]),
    )
    student, features = add_cosine_layer(encoder, reserved, read_sample(encoder, sample_pairs))
    loss = calibrate(student, features, lists[:_CALIBRATION_LISTS], pairs, recipe)
    logger.info("student before training: loss %.4f", loss)
    return student, reserved
