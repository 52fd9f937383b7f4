"""Training runs, end to end, on a toy base model and toy collections."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_rerankers import save_reranker
from tokenizers import Tokenizer
from toy_training import toy_recipe, write_base, write_collections
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
)

from zen_fast import ZenReranker
from zen_fast.errors import InvalidArgumentError
from zen_fast.train.__main__ import main
from zen_fast.train.candidate_lists import RatedLists
from zen_fast.train.errors import RecipeError, ResumeError
from zen_fast.train.loss import embedding_loss
from zen_fast.train.prepare import prepare
from zen_fast.train.recipe import RECIPES_FOLDER, Recipe, load_recipe, recipe_from_dict
from zen_fast.train.student.reading import read_logits, read_pairs
from zen_fast.train.token_table import TokenTable
from zen_fast.train.trainer import Trainer
from zen_fast.train.vocabulary import load_tokenizer


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
    stock = Tokenizer.from_file(str(out / "tokenizer.json"))
    tokens = TokenTable(stock, [query, document], 16, 48)
    ((_, pair),) = tokens.batches(np.array([0]), np.array([1]))
    assert inputs["input_ids"].tolist() == pair.input_ids.tolist()
    with torch.inference_mode():
        assert model(**inputs).logits.item() == pytest.approx(
            read_logits(model, tokens, np.array([0]), np.array([1])).item(), abs=1e-5
        )


def test_main_makes_a_query_independent_model_that_the_engine_scores_alike(
    recipe: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    recipe_path, out = tmp_path / "toy.json", tmp_path / "model"
    recipe = dataclasses.replace(recipe, attention_pattern="query_independent")
    recipe_path.write_text(json.dumps(dataclasses.asdict(recipe)))
    arguments = ["--recipe", str(recipe_path), "--data", str(data), "--base", str(base)]
    assert main([*arguments, "--out", str(out)]) == 0
    reranker = ZenReranker.from_pretrained(out, activation="identity", max_length=48)
    assert reranker.engine.spec.query_independent
    query, documents = "Where does the otter live?", ["Near the water.", "The heron eats fishes."]
    stock = BertForSequenceClassification.from_pretrained(out, dtype=torch.float32).eval()
    tokens = TokenTable(load_tokenizer(out / "tokenizer.json"), [query, *documents], 16, 48)
    with torch.inference_mode():
        expected = read_logits(stock, tokens, np.array([0, 0]), np.array([1, 2])).numpy()
    np.testing.assert_allclose(reranker.score(query, documents), expected, atol=1e-4)
    assert abs(expected[0] - expected[1]) > 0.01


def test_main_prepares_then_trains_without_data_or_bm25(
    recipe: Recipe, base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a machine that has only the work folder."""
    recipe_path, work, out = tmp_path / "toy.json", tmp_path / "work", tmp_path / "model"
    recipe_path.write_text(json.dumps(dataclasses.asdict(recipe)))
    arguments = ["--recipe", str(recipe_path), "--work", str(work), "--out", str(out)]
    assert main(arguments) == 2
    assert "takes --data and --base" in capsys.readouterr().err
    sources = ["--data", str(data), "--base", str(base)]
    assert main([*arguments, *sources, "--prepare-only"]) == 0
    assert not out.exists()
    absent = ("bm25s", "Stemmer", "ir_measures", "zen_fast._C")
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        "from zen_fast.train.__main__ import main;"
        f"sys.exit(main({arguments}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (out / "model.safetensors").is_file()


@pytest.fixture
def tuned(recipe: Recipe, tmp_path: Path) -> Recipe:
    """The toy recipe, going on with a cross-encoder that is there."""
    start = save_reranker(tmp_path / "start")
    return dataclasses.replace(recipe, start=str(start), layers=(), embedding_weight=0.0)


def test_prepare_with_a_start_takes_it_as_it_is(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    prepare(tuned, data, base, tmp_path / "work")
    assert not (tmp_path / "work" / "embeddings.npy").exists()
    trainer = Trainer(tuned, tmp_path / "work")
    start = BertForSequenceClassification.from_pretrained(tmp_path / "start", dtype=torch.float32)
    for name, tensor in start.state_dict().items():
        assert torch.equal(trainer.student.state_dict()[name], tensor)
    trainer.run()
    classifier = trainer.student.state_dict()["classifier.weight"]
    assert not torch.equal(classifier, start.state_dict()["classifier.weight"])


def test_reader_rates_the_training_lists_as_the_engine_does(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    reader, work = save_reranker(tmp_path / "reader", seed=5), tmp_path / "work"
    (source,) = tuned.sources
    whole = dataclasses.replace(source, reader=tuned.start)
    sentences = dataclasses.replace(
        source, judged=False, num_dev_queries=0, passage_words=(1,), reader=str(reader)
    )
    recipe = dataclasses.replace(tuned, sources=(whole, sentences), teacher_precision="fp32")
    prepare(recipe, data, base, work)
    lists, logits = RatedLists.read(work / "train.npz"), np.load(work / "reader.npy")
    judged = (lists.grades > 0).any(axis=1)
    assert 0 < judged.sum() < len(lists)
    for rows, model in ((judged, tuned.start), (~judged, reader)):
        engine = ZenReranker.from_pretrained(model, activation="identity", max_length=48)
        for row in np.flatnonzero(rows)[:3]:
            item = lists.as_lists()[row]
            np.testing.assert_allclose(
                logits[row][: len(item.documents)],
                engine.score(item.query, item.documents),
                atol=2e-3,
            )
    trainer = Trainer(recipe, work)
    before = _weights(trainer).clone()
    trainer.run()
    assert not torch.equal(_weights(trainer), before)


def test_training_leaves_words_and_positions_where_they_are(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    prepare(tuned, data, base, tmp_path / "work")
    trainer = Trainer(tuned, tmp_path / "work")
    start = {name: tensor.clone() for name, tensor in trainer.student.state_dict().items()}
    trainer.run()
    kept = {n for n, after in trainer.student.state_dict().items() if torch.equal(after, start[n])}
    embeddings = "bert.embeddings"
    assert kept == {
        f"{embeddings}.word_embeddings.weight",
        f"{embeddings}.position_embeddings.weight",
    }


@pytest.mark.parametrize("frozen_layers", [1, 2])
def test_training_leaves_frozen_layers_and_the_embeddings_where_they_are(
    frozen_layers: int, tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tuned, frozen_layers=frozen_layers)
    prepare(recipe, data, base, tmp_path / "work")
    trainer = Trainer(recipe, tmp_path / "work")
    start = {name: tensor.clone() for name, tensor in trainer.student.state_dict().items()}
    trainer.run()
    kept = {n for n, after in trainer.student.state_dict().items() if torch.equal(after, start[n])}
    parts = ("bert.embeddings.", *(f"bert.encoder.layer.{n}." for n in range(frozen_layers)))
    assert kept == {name for name in start if name.startswith(parts)}


def test_more_frozen_layers_than_there_are_raise(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    prepare(tuned, data, base, tmp_path / "work")
    with pytest.raises(RecipeError, match=r"frozen_layers is 9, .* has [0-9]+ layers"):
        Trainer(dataclasses.replace(tuned, frozen_layers=9), tmp_path / "work")


def test_main_moves_the_weights_back_by_the_share_that_the_recipe_says(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    weights = {}
    for share in (0.0, 0.25, 1.0):
        path = tmp_path / f"{share}.json"
        path.write_text(json.dumps(dataclasses.asdict(tuned) | {"start_share": share}))
        arguments = ["--recipe", str(path), "--data", str(data), "--base", str(base)]
        out = tmp_path / f"model-{share}"
        assert main([*arguments, "--work", str(tmp_path / "work"), "--out", str(out)]) == 0
        weights[share] = load_file(out / "model.safetensors")
    for name, tuned_weight in weights[0.0].items():
        expected = 0.75 * tuned_weight.float() + 0.25 * weights[1.0][name].float()
        torch.testing.assert_close(weights[0.25][name].float(), expected, atol=2e-3, rtol=2e-3)
    start = load_file(tmp_path / "work" / "start" / "model.safetensors")
    name = "classifier.weight"
    assert torch.equal(weights[1.0][name], start[name].half())
    assert not torch.equal(weights[0.0][name], start[name].half())


def test_recipes_that_differ_in_training_share_a_work_folder(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    weights = []
    for loss in ("listwise", "pointwise"):
        named = dataclasses.replace(tuned, name=loss, loss=loss)
        prepare(named, data, base, work)
        trainer = Trainer(named, work)
        assert trainer.step == 0
        trainer.run()
        weights.append(_weights(trainer))
    assert not torch.equal(*weights)
    with pytest.raises(ResumeError, match="loss"):
        Trainer(dataclasses.replace(tuned, name="listwise", loss="pointwise"), work)


def test_main_with_a_start_that_cannot_be_trained_is_a_typed_error(
    tuned: Recipe, base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe_path = tmp_path / "toy.json"
    recipe_path.write_text(json.dumps(dataclasses.asdict(tuned)))
    other = save_reranker(tmp_path / "roberta", "roberta")
    arguments = ["--recipe", str(recipe_path), "--data", str(data), "--base", str(base)]
    arguments += ["--start", str(other), "--out", str(tmp_path / "model")]
    assert main(arguments) == 2
    assert "is not a BERT cross-encoder with one label" in capsys.readouterr().err


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


def _distance(trainer: Trainer, work: Path) -> float:
    """From the student's means to the teacher's embeddings, over the first lists."""
    lists = RatedLists.read(work / "train.npz")
    tokens = TokenTable(trainer.tokenizer, lists.table.texts, 16, 48)
    queries, documents = lists.table.pairs(slice(0, 8))
    embeddings = np.load(work / "embeddings.npy").astype(np.float32)
    reserved = json.loads((work / "start" / "reserved.json").read_text())
    with torch.inference_mode():
        output = read_pairs(trainer.student.eval(), tokens, queries, documents)
        wanted = torch.from_numpy(embeddings[np.concatenate([queries, documents])])
        means = torch.cat([output.query_means, output.document_means])
        return float(embedding_loss(means, wanted, reserved))


def test_start_with_an_embedding_weight_follows_the_teacher(
    recipe: Recipe, base: Path, data: Path, tmp_path: Path
) -> None:
    made = dataclasses.replace(recipe, name="made")
    prepare(made, data, base, tmp_path / "made")
    start = tmp_path / "made" / "start"
    changes = {"start": str(start), "layers": (), "embedding_weight": 5.0, "seed": 3}
    following = dataclasses.replace(
        recipe, **changes, num_steps=30, dev_every=30, learning_rate=3e-3
    )
    prepare(following, data, base, tmp_path / "work")
    given = json.loads((start / "reserved.json").read_text())
    found = json.loads((tmp_path / "work" / "start" / "reserved.json").read_text())
    assert set(given) <= set(found)
    trainer = Trainer(following, tmp_path / "work")
    before = _distance(trainer, tmp_path / "work")
    trainer.student.train()
    trainer.run()
    assert _distance(trainer, tmp_path / "work") < 0.9 * before


def test_start_of_another_width_cannot_follow_the_teacher(
    tuned: Recipe, data: Path, base: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tuned, embedding_weight=1.0)
    with pytest.raises(InvalidArgumentError, match=r"embedding_weight is 1.0, .* 32 wide .* 24;"):
        prepare(recipe, data, base, tmp_path / "work")


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
        ({"sources": [{**SOURCE, "passage_words": [0]}]}, "passage_words"),
        ({"start": "zen-mini"}, "either start or layers"),
        ({"layers": []}, "either start or layers"),
        ({"loss": "pairwise"}, "loss must be one of"),
        ({"start_share": 0.5}, "start_share"),
        ({"frozen_layers": -1}, "frozen_layers"),
        ({"sources": [{**SOURCE, "reader": "zen-mini"}]}, "readers take a start"),
        ({"sources": [SOURCE, {**SOURCE, "reader": "zen-mini"}]}, "either all sources or none"),
        ({"sources": [{**SOURCE, "num_dev_queries": 1, "judged": False}]}, "not judged"),
        (
            {"loss": "pointwise", "sources": [SOURCE, {**SOURCE, "judged": False}]},
            "pointwise loss takes judged sources",
        ),
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


@pytest.mark.parametrize("path", sorted(RECIPES_FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_recipe_is_in_order_and_bears_its_files_name(path: Path) -> None:
    assert load_recipe(path.stem).name == path.stem


def test_load_recipe_extends_another_and_takes_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"extends": "zen-mini", "name": "mine", "max_length": 100}')
    recipe, parent = load_recipe(str(path), seed=5), load_recipe("zen-mini")
    assert recipe == dataclasses.replace(parent, name="mine", max_length=100, seed=5)


def test_load_recipe_that_extends_itself_raises(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"extends": str(path)}))
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(str(path))
