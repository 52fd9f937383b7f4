"""Training runs, end to end, on a toy base model and toy collections."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from toy_training import toy_recipe, write_base, write_collections
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
)

from zen_fast.train.__main__ import main
from zen_fast.train.errors import RecipeError, ResumeError
from zen_fast.train.pairs import PairEncoder
from zen_fast.train.prepare import prepare
from zen_fast.train.recipe import Recipe, load_recipe, recipe_from_dict
from zen_fast.train.student.reading import read_pairs
from zen_fast.train.trainer import Trainer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_base(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_collections(folder)
    return folder


@pytest.fixture
def recipe() -> Recipe:
    return toy_recipe()


def _weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in trainer.student.state_dict().values()])


def test_trainer_resumed_equals_uninterrupted(
    recipe: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    for name in ("whole", "parts"):
        prepare(recipe, data, base, tmp_path / name)
    whole = Trainer(recipe, tmp_path / "whole")
    whole.run()
    Trainer(recipe, tmp_path / "parts").run(stop_after=3)
    resumed = Trainer(recipe, tmp_path / "parts")
    assert resumed.step == 3
    resumed.run()
    assert torch.equal(_weights(whole), _weights(resumed))
    losses = [[row["loss"] for row in run.log if "loss" in row] for run in (whole, resumed)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == recipe.num_steps


def test_trainer_lowers_loss(recipe: Recipe, base: Path, data: Path, tmp_path: Path) -> None:
    longer = dataclasses.replace(recipe, num_steps=40, dev_every=40, learning_rate=3e-3)
    prepare(longer, data, base, tmp_path)
    trainer = Trainer(longer, tmp_path)
    trainer.run()
    losses = [row["loss"] for row in trainer.log if "loss" in row]
    assert sum(losses[-8:]) < sum(losses[:8])


def test_main_writes_model_that_stock_transformers_loads(
    recipe: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    recipe_path, out = tmp_path / "toy.json", tmp_path / "model"
    recipe_path.write_text(json.dumps(dataclasses.asdict(recipe)))
    arguments = ["--recipe", str(recipe_path), "--data", str(data), "--base", str(base)]
    assert main([*arguments, "--out", str(out)]) == 0
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = AutoModelForSequenceClassification.from_pretrained(out, dtype=torch.float32).eval()
    assert isinstance(model, BertForSequenceClassification)
    assert model.config.num_labels == 1
    assert model.config.sentence_transformers["activation_fn"].endswith("Sigmoid")
    query, document = "Where does the OTTER live?", "The otter lives near the water."
    inputs = tokenizer(query, document, return_tensors="pt")
    pairs = PairEncoder(Tokenizer.from_file(str(out / "tokenizer.json")), 16, 48)
    encoded = pairs.encode(query, [document])
    assert inputs["input_ids"][0].tolist() == encoded[0][0]
    with torch.inference_mode():
        assert model(**inputs).logits.item() == pytest.approx(
            read_pairs(model, encoded, 8).logits.item(), abs=1e-5
        )


def test_read_pairs_equals_stock_forward_for_mixed_lengths() -> None:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
        num_labels=1,
    )
    model = BertForSequenceClassification(config).eval()
    lengths = (1, 17, 4, 9, 2, 31, 5)
    pairs = [(torch.randint(1, 50, (length + 3,)).tolist(), 3) for length in lengths]
    with torch.inference_mode():
        output = read_pairs(model, pairs, chunk_size=3)
        for row, (ids, head) in enumerate(pairs):
            types = torch.tensor([[0] * head + [1] * (len(ids) - head)])
            stock = model(
                input_ids=torch.tensor([ids]), token_type_ids=types, output_hidden_states=True
            )
            assert output.logits[row].item() == pytest.approx(stock.logits.item(), abs=1e-5)
            states = stock.hidden_states[-2][0]
            torch.testing.assert_close(output.query_means[row], states[:head].mean(dim=0))
            torch.testing.assert_close(output.document_means[row], states[head:].mean(dim=0))


@pytest.mark.parametrize("missing", ["--data", "--base", "--recipe"])
def test_main_bad_path_is_a_typed_error(
    missing: str,
    recipe: Recipe,
    base: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe_path = tmp_path / "toy.json"
    recipe_path.write_text(json.dumps(dataclasses.asdict(recipe)))
    paths = {"--recipe": str(recipe_path), "--data": str(data), "--base": str(base)}
    paths[missing] = str(tmp_path / "nowhere")
    arguments = [text for pair in paths.items() for text in pair]
    assert main([*arguments, "--out", str(tmp_path / "model")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_prepare_other_recipe_in_same_folder_raises(
    recipe: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    prepare(recipe, data, base, tmp_path)
    other = dataclasses.replace(recipe, seed=recipe.seed + 1)
    with pytest.raises(ResumeError, match="seed"):
        prepare(other, data, base, tmp_path)


SOURCE = {"collection": "toy", "num_documents": 0, "num_questions": 1, "num_cloze": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hard_weight": 2.0}, "hard_weight"),
        ({"num_bm25": -1}, "num_bm25"),
        ({"passage_words": []}, "passage_words"),
        ({"warmup_steps": 9999}, "warmup_steps"),
        ({"sources": []}, "sources"),
        (
            {"sources": [{**SOURCE, "num_dev_queries": 0}, SOURCE]},
            r"hold out num_dev_queries > 0",
        ),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_recipe_out_of_range_raises(
    change: dict[str, object], message: str, recipe: Recipe
) -> None:
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    with pytest.raises(RecipeError, match=message):
        recipe_from_dict({**fields, **change})


def test_load_recipe_unknown_name_lists_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="zen-mini"):
        load_recipe("zen-maxi")
