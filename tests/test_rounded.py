"""`quantize --rounded`: a model in its own format whose projections int8 holds as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from random_encoder_decoders import RANDOM_ENCODER_DECODERS  # noqa: E402
from random_language_models import RANDOM_LANGUAGE_MODELS  # noqa: E402
from random_models import RANDOM_MODELS, RandomModel, random_sequences  # noqa: E402
from tiny_rerankers import save_reranker  # noqa: E402

from zen_fast import ZenReranker  # noqa: E402
from zen_fast.backends.cpu import CpuBackend  # noqa: E402
from zen_fast.batching import TokenizedPair, pack  # noqa: E402
from zen_fast.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from zen_fast.checkpoint.rounded import save_rounded  # noqa: E402
from zen_fast.checkpoint.tensors import TensorFiles  # noqa: E402
from zen_fast.encoder import Encoder  # noqa: E402
from zen_fast.input_moments import input_moments  # noqa: E402
from zen_fast.quantization import quantize_matrix, quantize_weights  # noqa: E402
from zen_fast.quantize import main  # noqa: E402
from zen_fast.weights import QuantizedMatrix, is_quantizable, is_smoothed  # noqa: E402

RECIPES = {
    recipe.name: recipe
    for recipe in (*RANDOM_MODELS, *RANDOM_LANGUAGE_MODELS, *RANDOM_ENCODER_DECODERS)
}


def _saved(name: str, folder: Path) -> tuple[RandomModel, Checkpoint]:
    recipe = RECIPES[name]
    recipe.save(recipe.build(), folder)
    return recipe, recipe.load(folder)


@pytest.mark.parametrize("name", RECIPES)
def test_int8_of_what_is_rounded_are_the_same_bytes(name: str, tmp_path: Path) -> None:
    recipe, checkpoint = _saved(name, tmp_path / "plain")
    save_rounded(checkpoint, tmp_path / "rounded")
    rounded = recipe.load(tmp_path / "rounded").weights
    wanted = quantize_weights(checkpoint.weights, checkpoint.spec)
    moved = 0
    for tensor in checkpoint.weights:
        layer = wanted.linear(tensor.removesuffix(".weight")) if is_quantizable(tensor) else None
        if layer is None or not isinstance(layer.weight, QuantizedMatrix):
            np.testing.assert_array_equal(rounded[tensor], checkpoint.weights[tensor])
            continue
        np.testing.assert_allclose(rounded[tensor], layer.fp32_weight(), rtol=1e-6)
        again = quantize_matrix(rounded[tensor], is_smoothed(tensor))
        if is_smoothed(tensor):  # whose input scales are found anew, a little beside the first
            first_step, step = (
                np.square(part.fp32() - start).mean() ** 0.5
                for part, start in (
                    (layer.weight, checkpoint.weights[tensor]),
                    (again, rounded[tensor]),
                )
            )
            assert step < 0.5 * first_step
        else:
            np.testing.assert_array_equal(again.values, layer.weight.values)
        moved += 1
    assert moved >= 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_transformers_reads_what_is_rounded(dtype: torch.dtype, tmp_path: Path) -> None:
    recipe = RECIPES["bert"]
    # A file of which every shard is smaller than one matrix.
    recipe.build().to(dtype).save_pretrained(tmp_path / "plain", max_shard_size="10KB")
    checkpoint = load_checkpoint(tmp_path / "plain")
    assert len(TensorFiles(checkpoint.folder).paths) > 1
    save_rounded(checkpoint, tmp_path / "rounded")
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "rounded", dtype="auto", attn_implementation="eager"
    )
    assert stock.dtype == dtype
    rounded = load_checkpoint(tmp_path / "rounded")
    sequences = random_sequences([1, 9, 40], rounded.spec.num_token_types)
    pairs = [TokenizedPair(each.token_ids, each.token_type_ids) for each in sequences]
    ours = CpuBackend(Encoder(rounded.spec, rounded.weights)).forward(pack(pairs, rounded.spec))
    expected = recipe.logits(stock.float().eval(), sequences)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * expected.std())


def test_rounding_to_bf16_is_that_of_torch(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"some": torch.zeros(64, 7, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    values = torch.randn(64, 7, generator=torch.Generator().manual_seed(3))
    values[0, :2] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8])  # ties: to even
    rounded = TensorFiles(tmp_path)["some"].with_values(values.numpy()).fp32()
    np.testing.assert_array_equal(rounded, values.bfloat16().float().numpy())


def test_kept_layers_stay_as_they_were(tmp_path: Path) -> None:
    recipe, checkpoint = _saved("gemma2-yes-no-capped", tmp_path / "plain")
    save_rounded(checkpoint, tmp_path / "rounded", kept_layers=[1])
    rounded = recipe.load(tmp_path / "rounded").weights
    same = {name for name in rounded if (rounded[name] == checkpoint.weights[name]).all()}
    assert {name for name in rounded if name.startswith("layers.1.")} <= same
    assert "layers.0.ffn.up.weight" not in same


def test_rounded_command_brings_int8_nearer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, checkpoint = _saved("bert", tmp_path / "plain")
    assert main(["--rounded", str(tmp_path / "plain"), str(tmp_path / "rounded")]) == 0
    assert "wrote" in capsys.readouterr().out
    spec = checkpoint.spec
    sequences = random_sequences([5, 20, 40, 80], spec.num_token_types)
    batch = pack([TokenizedPair(each.token_ids, each.token_type_ids) for each in sequences], spec)
    errors = []
    for folder in ("plain", "rounded"):
        weights = load_checkpoint(tmp_path / folder).weights
        exact, int8 = (
            CpuBackend(Encoder(spec, each)).forward(batch)
            for each in (weights, quantize_weights(weights, spec))
        )
        errors.append(np.abs(int8 - exact).max())
    assert errors[1] < errors[0]


@pytest.mark.parametrize("more", [[], ["--texts", "stdlib"]], ids=["nearest", "texts"])
def test_rounded_command_refuses_a_quantized_model(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zen-mini", str(tmp_path / "int8")]) == 0
    assert main(["--rounded", str(tmp_path / "int8"), str(tmp_path / "rounded"), *more]) == 2
    assert "quantized already" in capsys.readouterr().err
    assert not (tmp_path / "rounded").exists()


DOCUMENTS = [
    "Yeast eats sugar and gives off carbon dioxide, whose bubbles lift the dough.",
    "The museum opens at nine and closes at five.",
    "Dough that is kneaded forms gluten, which holds the gas inside.",
    "A cell divides when its membrane pinches in.",
    "Salt slows the yeast down and tightens the dough.",
    "Trains to the coast leave every hour from the second platform.",
]
QUERIES = ["Why does dough rise?", "when does the museum open", "trains to the coast"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A collection whose documents every query finds."""
    pytest.importorskip("bm25s")
    folder = tmp_path / "texts"
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = [json.dumps({"_id": str(key), "text": text}) for key, text in enumerate(rows)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n0\t0\t1\n")
    return folder


def test_rounding_for_texts_moves_the_products_less(texts: Path, tmp_path: Path) -> None:
    model = save_reranker(tmp_path / "model")
    assert main(["--rounded", str(model), str(tmp_path / "nearest")]) == 0
    adjusted = str(tmp_path / "adjusted")
    assert main(["--rounded", str(model), adjusted, "--texts", str(texts)]) == 0
    exact, *rounded = (
        load_checkpoint(tmp_path / name).weights for name in ("model", "nearest", "adjusted")
    )
    reader = ZenReranker.from_pretrained(model)
    pairs = [
        pair for query in QUERIES for pair in reader.engine.encode([query] * 6, DOCUMENTS).sequences
    ]
    moments = input_moments(Encoder(load_checkpoint(model).spec, exact), pairs)
    for name, moment in moments.items():
        if name == "layers.1.ffn.down.weight":  # which int8 keeps
            continue
        off, less_off = (
            np.einsum("oi,ij,oj->", error, moment, error)
            for error in (weights[name] - exact[name] for weights in rounded)
        )
        assert less_off < off, name


def test_both_forms_are_rounded_alike_for_texts(texts: Path, tmp_path: Path) -> None:
    model = save_reranker(tmp_path / "model")
    for form in ([], ["--rounded"]):
        out = tmp_path / f"out{''.join(form)}"
        assert main([*form, str(model), str(out), "--texts", str(texts)]) == 0
    int8 = load_checkpoint(tmp_path / "out").weights
    rounded = load_checkpoint(tmp_path / "out--rounded").weights
    for name in filter(is_quantizable, int8):
        layer = int8.linear(name.removesuffix(".weight"))
        np.testing.assert_allclose(rounded[name], layer.fp32_weight(), rtol=1e-6)


def test_texts_that_no_query_finds_are_a_typed_error(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (texts / "queries.jsonl").write_text('{"_id": "0", "text": "zzz"}')
    model = save_reranker(tmp_path / "model")
    assert main([str(model), str(tmp_path / "int8"), "--texts", str(texts)]) == 2
    assert "name another collection" in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()
