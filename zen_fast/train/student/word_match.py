"""One attention head that marks the tokens of a query that its document repeats.

Every token looks for its own word in the document, and at [CLS] where it finds none; what it brings
home is the word's weight, 0 from [CLS]. The mean over the query's tokens is then close to a BM25
score, and because words of one stem have similar embeddings, they match in part.

The query of a query-independent model does not see the document. There the words of the document
are marked that stand in the query, and their mean is taken.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertModel

from zen_fast.train.pairs import Pair
from zen_fast.train.student.pattern import is_query_independent
from zen_fast.train.student.sample import TokenSample, fit_reading, layers_of, read_sample
from zen_fast.train.student.segments import Reserved
from zen_fast.train.vocabulary import token_id

_SHARPNESS = 0.5
"""Attention logits per unit of likeness; whitened, a word's likeness to itself is about the head's
size, and to another word 0, give or take the root of that."""
_THRESHOLD = 0.62
"""Share of a typical word's likeness to itself from which a match counts more than [CLS]."""
_OUT_OF_SIGHT = 10.0
"""What the tokens of the other segment lose, in attention logits: exp(-10)."""
_MARK = 0.3
"""Size of a mark per unit of word weight, so that marks are of the size of other coordinates."""
_NOISE_FLOOR = 0.05
_POSITIONS = 100


def word_weights(tokenizer: Tokenizer, texts: Iterable[str]) -> Tensor:
    """(vocabulary) BM25's inverse document frequency of each token in the texts."""
    found: Counter[int] = Counter()
    num_texts = 0
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        found.update(set(encoding.ids))
        num_texts += 1
    counts = torch.tensor([float(found[token]) for token in range(tokenizer.get_vocab_size())])
    return torch.log1p((num_texts - counts + 0.5) / (counts + 0.5))


@torch.no_grad()
def least_used_head(encoder: BertModel, pairs: Sequence[Pair]) -> int:
    """The head of the first layer without which segment means change least."""
    whole = read_sample(encoder, pairs).segment_means()
    heads = int(encoder.config.num_attention_heads)
    output = layers_of(encoder)[0].attention.output.dense
    changes = []
    for columns in torch.arange(output.weight.shape[1]).view(heads, -1):
        kept = output.weight[:, columns].clone()
        output.weight[:, columns] = 0
        changes.append(float((read_sample(encoder, pairs).segment_means() - whole).norm()))
        output.weight[:, columns] = kept
    return changes.index(min(changes))


@torch.no_grad()
def add_word_match(
    encoder: BertModel,
    reserved: Reserved,
    tokenizer: Tokenizer,
    weights: Tensor,
    sample: TokenSample,
    head: int,
) -> None:
    """Make `head` of the first layer write repeated words' weights to `reserved.words`.

    A query-independent model is told by its config.

    Args:
        weights: (vocabulary) what a repeated token is worth.
        sample: tokens as the embeddings present them.
    """
    attention = layers_of(encoder)[0].attention
    head_size = encoder.config.hidden_size // encoder.config.num_attention_heads
    root = math.sqrt(head_size)
    level, likeness = head * head_size, slice(head * head_size + 1, (head + 1) * head_size)
    rows = slice(level, likeness.stop)
    query, key, value = attention.self.query, attention.self.key, attention.self.value
    for part in (query, key, value):
        part.weight[rows] = 0
        part.bias[rows] = 0

    directions, centre, self_likeness = _word_directions(encoder, reserved, sample, head_size - 1)
    for side in (query, key):
        side.weight[likeness] = directions * math.sqrt(_SHARPNESS * root)
        side.bias[likeness] = -(side.weight[likeness] @ centre)

    is_cls = sample.ids == token_id(tokenizer, "[CLS]")
    is_sep = sample.ids == token_id(tokenizer, "[SEP]")
    searched = 0 if is_query_independent(encoder.config) else 1
    wanted = torch.where((sample.segments == searched) & ~is_sep, 0.0, -_OUT_OF_SIGHT)
    wanted[is_cls] = _SHARPNESS * _THRESHOLD * self_likeness
    _set_reading(key, level, root, *fit_reading(sample.embedded, wanted))
    query.bias[level] = 1.0

    worth = torch.where(is_cls | is_sep, 0.0, weights[sample.ids])
    _set_reading(value, level, 1.0, *fit_reading(sample.embedded, worth))
    attention.output.dense.weight[:, rows] = 0
    attention.output.dense.weight[reserved.words, level] = _MARK


def _set_reading(linear: Any, row: int, gain: float, weights: Tensor, bias: Tensor) -> None:
    linear.weight[row] = gain * weights
    linear.bias[row] = gain * bias


def _word_directions(
    encoder: BertModel, reserved: Reserved, sample: TokenSample, count: int
) -> tuple[Tensor, Tensor, float]:
    """Directions that tell words apart and hardly see where a word stands (Fisher, 1936).

    Returns:
        directions (count, hidden), scaled so that the vocabulary has unit variance along each; the
        vocabulary's centre (hidden); a typical word's squared distance from it, so measured.
    """
    words = _embedded_vocabulary(encoder)
    centre = words.mean(dim=0)
    used = [index for index in range(words.shape[1]) if index not in reserved.all]
    between = (words - centre)[:, used]
    within = _deviations_of_equal_words(sample)[:, used]
    noise = within.T @ within / max(1, len(within))
    noise += torch.eye(len(used)) * (_NOISE_FLOOR * noise.diagonal().mean() + 1e-6)
    whitening = torch.linalg.inv(torch.linalg.cholesky(noise))
    spread = whitening @ (between.T @ between / len(between)) @ whitening.T
    found = torch.linalg.eigh(spread).eigenvectors.T[-count:] @ whitening
    found = found / (between @ found.T).std(dim=0)[:, None]
    self_likeness = float((between @ found.T).square().sum(dim=1).median())
    directions = torch.zeros(count, words.shape[1])
    directions[:, used] = found
    return directions, centre, self_likeness


def _embedded_vocabulary(encoder: BertModel) -> Tensor:
    """(vocabulary, hidden) every word behind the embeddings, at random places."""
    embeddings: Any = encoder.embeddings
    words = embeddings.word_embeddings.weight
    last = min(_POSITIONS, encoder.config.max_position_embeddings)
    places = embeddings.position_embeddings.weight[torch.randint(1, last, (len(words),))]
    segments = embeddings.token_type_embeddings.weight[torch.randint(0, 2, (len(words),))]
    result: Tensor = embeddings.LayerNorm(words + places + segments)
    return result


def _deviations_of_equal_words(sample: TokenSample) -> Tensor:
    """(num_repeated_tokens, hidden) differences from the mean of the same word elsewhere."""
    highest = int(sample.ids.max()) + 1
    counts = torch.bincount(sample.ids, minlength=highest)
    sums = torch.zeros(highest, sample.embedded.shape[1])
    sums.index_add_(0, sample.ids, sample.embedded)
    means = sums[sample.ids] / counts[sample.ids, None]
    repeated: Tensor = counts[sample.ids] > 1
    return (sample.embedded - means)[repeated]
