"""From a cut bi-encoder to a cross-encoder that already ranks as its two teachers do."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, BertModel

from zen_fast.train.candidate_lists import CandidateList
from zen_fast.train.pairs import PairEncoder
from zen_fast.train.recipe import Recipe
from zen_fast.train.student.calibration import calibrate
from zen_fast.train.student.cosine_layer import add_cosine_layer
from zen_fast.train.student.distillation import Embeddings, SegmentReader, distill
from zen_fast.train.student.sample import read_sample
from zen_fast.train.student.segments import Reserved, separate_segments
from zen_fast.train.student.word_match import add_word_match, least_used_head, word_weights

logger = logging.getLogger(__name__)

_TYPICAL_TEXTS = 64
_SAMPLE_PAIRS = 240
_HEAD_PAIRS = 60
_CALIBRATION_LISTS = 200
_WEIGHT_LISTS = 3000


def make_student(
    encoder: BertModel,
    tokenizer: Tokenizer,
    lists: Sequence[CandidateList],
    texts: Sequence[str],
    embeddings: Embeddings,
    recipe: Recipe,
    device: str,
) -> tuple[BertForSequenceClassification, Reserved]:
    """Go through the steps that the package's page names.

    Args:
        encoder: cut from the base model; changed in place.
        lists: the training lists.
        texts: every query and document of these.
        embeddings: (num_texts, hidden) the base model's, of `texts`.
        device: where to distill; all else is quick and done on the CPU.
    """
    rows = {text: row for row, text in enumerate(texts)}
    queries = list(dict.fromkeys(item.query for item in lists))
    documents = list(dict.fromkeys(text for item in lists for text in item.documents))
    reader = SegmentReader(encoder, tokenizer, recipe.seed)
    reserved = separate_segments(
        encoder,
        lambda: [
            reader.means(texts[:_TYPICAL_TEXTS], segment)
            for segment, texts in enumerate((queries, documents))
        ],
    )
    query_rows, document_rows = ([rows[text] for text in texts] for texts in (queries, documents))
    encoder.to(device)  # type: ignore[arg-type]
    distill(
        encoder,
        reserved,
        tokenizer,
        (queries, embeddings[query_rows]),
        (documents, embeddings[document_rows]),
        recipe,
    )
    encoder.to("cpu")  # type: ignore[arg-type]
    encoder.train(False)
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
