"""Tiny random language models: as classifiers, and as generative rerankers with two answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_models import MAX_LENGTH, RandomModel, Sequence

from zen_fast.checkpoint import Checkpoint, load_checkpoint
from zen_fast.prompts.answer import AnswerTokens

PAD_ID, EOS_ID = 0, 2


@dataclass(frozen=True)
class RandomLanguageModel(RandomModel):
    """A recipe whose score may be what the model says of an answer."""

    answer: AnswerTokens | None = None
    """None for a sequence classifier."""

    @property
    def task(self) -> str:
        return "SequenceClassification" if self.answer is None else "CausalLM"

    def load(self, folder: Path) -> Checkpoint:
        checkpoint = load_checkpoint(folder)
        return checkpoint if self.answer is None else checkpoint.answering(self.answer)

    def logits(self, model: Any, sequences: list[Sequence]) -> np.ndarray:
        if self.answer is None:
            return super().logits(model, sequences)
        logits = []
        for sequence in sequences:
            with torch.inference_mode():
                last = model(torch.tensor(sequence.token_ids)[None].long()).logits[0, -1].numpy()
            negative = 0.0 if self.answer.negative is None else last[self.answer.negative]
            logits.append([last[self.answer.positive] - negative])
        return np.array(logits)


def _decoder(
    hidden: int, heads: int, kv_heads: int, layers: int, intermediate: int, **more: Any
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": layers,
        "intermediate_size": intermediate,
        "max_position_embeddings": MAX_LENGTH,
        "rms_norm_eps": 0.02,
        "pad_token_id": PAD_ID,
        "bos_token_id": 1,
        "eos_token_id": EOS_ID,
        "num_labels": 1,
        **more,
    }


YES, NO = 71, 40

RANDOM_LANGUAGE_MODELS = (
    RandomLanguageModel(
        "qwen3-yes-no-tied",
        "Qwen3",
        _decoder(48, 4, 2, 3, 37, head_dim=10, tie_word_embeddings=True),
        answer=AnswerTokens(YES, NO),
    ),
    RandomLanguageModel(
        "qwen3-windows-biased",
        "Qwen3",
        _decoder(
            36,
            6,
            3,
            2,
            29,
            head_dim=16,
            attention_bias=True,
            use_sliding_window=True,
            sliding_window=7,
            max_window_layers=1,
            num_labels=3,
        ),
    ),
    RandomLanguageModel(
        "qwen2-yes-no-untied",
        "Qwen2",
        _decoder(
            60,
            6,
            1,
            2,
            51,
            rope_parameters={"rope_type": "yarn", "factor": 3.0, "rope_theta": 500.0}
            | {"original_max_position_embeddings": 24},
        ),
        answer=AnswerTokens(YES, NO),
    ),
    RandomLanguageModel(
        "qwen2-pad-is-eos",
        "Qwen2",
        _decoder(
            40,
            5,
            5,
            2,
            33,
            pad_token_id=EOS_ID,
            use_sliding_window=True,
            sliding_window=9,
            layer_types=["sliding_attention", "full_attention"],
        ),
    ),
    RandomLanguageModel(
        "llama-llama3-rope",
        "Llama",
        _decoder(
            48,
            8,
            2,
            2,
            45,
            pad_token_id=None,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={"rope_type": "llama3", "factor": 4.0, "rope_theta": 300.0}
            | {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
            | {"original_max_position_embeddings": 32},
        ),
    ),
    RandomLanguageModel(
        "llama-old-keys-yes-alone",
        "Llama",
        _decoder(
            36,
            3,
            3,
            1,
            31,
            rope_parameters={"rope_type": "linear", "factor": 2.0} | {"rope_theta": 100.0},
        ),
        saved_settings={
            "rope_parameters": None,
            "rope_theta": 100.0,
            "rope_scaling": {"type": "linear", "factor": 2.0},
            "num_key_value_heads": None,
            "head_dim": None,
        },
        answer=AnswerTokens(YES, None),
    ),
    RandomLanguageModel(
        "mistral-window", "Mistral", _decoder(48, 6, 2, 2, 35, sliding_window=11, head_dim=14)
    ),
    RandomLanguageModel(
        "gemma-yes-alone",
        "Gemma",
        _decoder(42, 3, 1, 2, 27, head_dim=18, hidden_act="gelu_pytorch_tanh"),
        saved_settings={"hidden_act": "gelu"},
        answer=AnswerTokens(YES, None),
    ),
    RandomLanguageModel(
        "gemma2-yes-no-capped",
        "Gemma2",
        _decoder(
            40,
            4,
            2,
            2,
            37,
            head_dim=12,
            sliding_window=8,
            query_pre_attn_scalar=20,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=3.0,
        ),
        answer=AnswerTokens(YES, NO),
    ),
    RandomLanguageModel(
        "gemma2-uncapped",
        "Gemma2",
        _decoder(
            40,
            4,
            4,
            2,
            21,
            head_dim=8,
            sliding_window=6,
            attn_logit_softcapping=None,
            num_labels=3,
        ),
    ),
)
