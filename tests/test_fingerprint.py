from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from zen_fast.prompts import TEMPLATES
from zen_fast.score_cache import model_fingerprint
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec
from zen_fast.tokenization import WindowSettings

SPEC = EncoderSpec(
    architecture="bert",
    vocab_size=3,
    hidden_size=4,
    num_heads=1,
    intermediate_size=4,
    max_length=16,
    layers=(LayerSpec(),),
    head=HeadSpec(num_labels=1),
)


def tokenizer(split_special_tokens: bool = False, **vocabulary: int) -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1} | vocabulary, unk_token="[UNK]"))
    made.encode_special_tokens = split_special_tokens
    return made


def weights(**changed: Any) -> dict[str, np.ndarray]:
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    return {"table": table, "bias": np.zeros(4, np.float32)} | changed


def fingerprint(**changed: Any) -> bytes:
    arguments: dict[str, Any] = {
        "spec": SPEC,
        "weights": weights(),
        "tokenizer": tokenizer(),
        "uses_token_types": True,
        "max_length": 16,
        "truncation": "longest_first",
        "truncation_side": "right",
        "template": None,
        "windows": None,
        "arithmetic": "cpu fp32 avx2",
    }
    return model_fingerprint(**(arguments | changed))


TABLE = weights()["table"]
ONE_BIT_OFF = TABLE.copy()
ONE_BIT_OFF[2, 3] = np.nextafter(ONE_BIT_OFF[2, 3], np.float32(0))

CHANGES: dict[str, dict[str, Any]] = {
    "spec": {"spec": replace(SPEC, norm_eps=1e-5)},
    "one bit of a weight": {"weights": weights(table=ONE_BIT_OFF)},
    "shape": {"weights": weights(table=TABLE.reshape(4, 3))},
    "dtype": {"weights": weights(table=TABLE.view(np.int32))},
    "name": {"weights": {"table": TABLE, "Bias": np.zeros(4, np.float32)}},
    "one weight more": {"weights": weights(more=np.empty(0, np.float32))},
    "vocabulary": {"tokenizer": tokenizer(b=2)},
    "special tokens": {"tokenizer": tokenizer(split_special_tokens=True)},
    "uses_token_types": {"uses_token_types": False},
    "max_length": {"max_length": None},
    "truncation": {"truncation": "only_second"},
    "truncation_side": {"truncation_side": "left"},
    "template": {"template": TEMPLATES["monot5"]},
    "windows": {"windows": WindowSettings()},
    "arithmetic": {"arithmetic": "cpu fp32 avx512_vnni"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_fingerprint_differs_with(name: str) -> None:
    assert fingerprint(**CHANGES[name]) != fingerprint()


def test_fingerprint_is_that_of_the_values_whatever_their_memory() -> None:
    other_order = dict(reversed(weights(table=np.asfortranarray(TABLE)).items()))
    assert fingerprint(weights=other_order) == fingerprint()
    assert len(fingerprint()) == 32
