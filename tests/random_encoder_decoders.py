"""Tiny random T5 models, scored by what they say of an answer in one decoder step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from random_language_models import NO, YES, RandomLanguageModel
from random_models import MAX_LENGTH, Sequence

from zen_fast.prompts.answer import AnswerTokens

START_ID = 5


@dataclass(frozen=True)
class RandomEncoderDecoder(RandomLanguageModel):
    """A recipe whose answer comes from a decoder."""

    @property
    def task(self) -> str:
        return "ConditionalGeneration"

    def build(self, seed: int = 0) -> torch.nn.Module:
        model = super().build(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(".q.weight"):  # it carries the scale of the scores in T5
                    parameter *= model.config.d_kv**-0.5
        return model

    def logits(self, model: Any, sequences: list[Sequence]) -> np.ndarray:
        assert self.answer is not None
        start = torch.tensor([[model.config.decoder_start_token_id]])
        logits = []
        for sequence in sequences:
            ids = torch.tensor(sequence.token_ids)[None].long()
            with torch.inference_mode():
                output = model(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    decoder_input_ids=start,
                    use_cache=False,
                )
            first = output.logits[0, 0].numpy()
            negative = 0.0 if self.answer.negative is None else first[self.answer.negative]
            logits.append([first[self.answer.positive] - negative])
        return np.array(logits)


def _sizes(**more: Any) -> dict[str, Any]:
    return {
        "d_model": 40,
        "d_kv": 12,
        "d_ff": 29,
        "num_layers": 2,
        "num_heads": 3,
        "layer_norm_epsilon": 0.02,
        "decoder_start_token_id": START_ID,
        "n_positions": MAX_LENGTH,
        **more,
    }


RANDOM_ENCODER_DECODERS = (
    RandomEncoderDecoder(
        "t5-tied",
        "T5",
        _sizes(relative_attention_num_buckets=10, relative_attention_max_distance=23),
        answer=AnswerTokens(YES, NO),
    ),
    RandomEncoderDecoder(
        "t5-gated-untied-decoder-of-one-layer",
        "T5",
        _sizes(
            feed_forward_proj="gated-gelu",
            num_layers=3,
            num_decoder_layers=1,
            tie_word_embeddings=False,
            relative_attention_max_distance=40,
        ),
        answer=AnswerTokens(YES, NO),
    ),
    RandomEncoderDecoder("mt5-yes-alone", "MT5", _sizes(), answer=AnswerTokens(YES, None)),
)
