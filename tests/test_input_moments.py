"""What projections read, as the stock model's own modules read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from random_encoder_decoders import RANDOM_ENCODER_DECODERS  # noqa: E402
from random_language_models import RANDOM_LANGUAGE_MODELS  # noqa: E402
from random_models import RANDOM_MODELS, RandomModel, random_sequences  # noqa: E402

from zen_fast.batching import TokenizedPair  # noqa: E402
from zen_fast.encoder import Encoder  # noqa: E402
from zen_fast.input_moments import input_moments  # noqa: E402
from zen_fast.weights import is_quantizable  # noqa: E402

RECIPES = (*RANDOM_MODELS, *RANDOM_LANGUAGE_MODELS, *RANDOM_ENCODER_DECODERS)


def test_moments_are_those_of_the_stock_modules(tmp_path: Path) -> None:
    (recipe,) = (each for each in RANDOM_MODELS if each.name == "bert")
    model = recipe.build()
    recipe.save(model, tmp_path)
    checkpoint = recipe.load(tmp_path)
    sequences = random_sequences([3, 17, 30], checkpoint.spec.num_token_types)
    first = model.bert.encoder.layer[0]
    last = model.bert.encoder.layer[-1]
    read: dict[str, list[np.ndarray]] = {}
    for name, module in {
        "layers.0.attention.qkv.weight": first.attention.self.query,
        "layers.0.ffn.down.weight": first.output.dense,
        "last": last.intermediate.dense,
    }.items():

        def keep(_: object, inputs: tuple, __: object, name: str = name) -> None:
            read.setdefault(name, []).append(inputs[0][0].numpy())

        module.register_forward_hook(keep)
    recipe.logits(model, sequences)
    pairs = [TokenizedPair(each.token_ids, each.token_type_ids) for each in sequences]
    seen: list[int] = []
    encoder = Encoder(checkpoint.spec, checkpoint.weights)
    moments = input_moments(encoder, pairs, seen.append)
    assert sum(seen) == len(pairs)
    # Of the last layer only the first rows are computed.
    read[f"layers.{checkpoint.spec.num_layers - 1}.ffn.up.weight"] = [
        rows[:1] for rows in read.pop("last")
    ]
    for name, parts in read.items():
        rows = np.concatenate(parts)
        np.testing.assert_allclose(moments[name], rows.T @ rows / len(rows), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_projection_is_met(recipe: RandomModel, tmp_path: Path) -> None:
    recipe.save(recipe.build(), tmp_path)
    checkpoint = recipe.load(tmp_path)
    sequences = random_sequences([5, 9], checkpoint.spec.num_token_types)
    pairs = [TokenizedPair(each.token_ids, each.token_type_ids) for each in sequences]
    moments = input_moments(Encoder(checkpoint.spec, checkpoint.weights), pairs)
    assert moments.keys() == set(filter(is_quantizable, checkpoint.weights))
