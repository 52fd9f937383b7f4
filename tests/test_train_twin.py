"""A query-independent twin is distilled from its teacher, written, and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("bm25s")

from random_query_independent import query_independent_logits  # noqa: E402
from tiny_rerankers import save_reranker  # noqa: E402
from tolerances import PARITY_PER_SPREAD  # noqa: E402
from toy_training import write_collections  # noqa: E402

from zen_fast import ZenReranker  # noqa: E402
from zen_fast.train.twin import distilling  # noqa: E402
from zen_fast.train.twin.distilling import Distillation  # noqa: E402
from zen_fast.twin import main  # noqa: E402


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_collections(folder)
    return folder / "toy"


def _train(teacher: Path, collection: Path, out: Path, steps: int) -> int:
    options = f"--steps {steps} --threads 1 --learning-rate 1e-3".split()
    return main([str(teacher), "--data", f"{collection}:train", "--out", str(out), *options])


def test_twin_learns_and_scores_as_the_stock_modules_say(collection: Path, tmp_path: Path) -> None:
    teacher = save_reranker(tmp_path / "teacher")
    out = tmp_path / "twin"
    assert _train(teacher, collection, out, steps=60) == 0
    losses = json.loads((out / "training.json").read_text())["losses"]
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < np.mean(losses[:10])

    twin = ZenReranker.from_pretrained(out, num_threads=1, activation="identity")
    assert twin.engine.spec.query_independent
    pattern = json.loads((out / "config.json").read_text())["attention_pattern"]
    assert pattern == "query_independent"
    query, documents = "where does the otter live", ["near the water", "a heron", "", "salmon"]
    stock = transformers.BertForSequenceClassification.from_pretrained(str(out)).float().eval()
    pairs = twin.engine.encode([query] * len(documents), documents).sequences
    with torch.inference_mode():
        expected = query_independent_logits(stock, pairs)[:, 0].numpy()
    scores = twin.score(query, documents)
    assert np.abs(scores - expected).max() <= PARITY_PER_SPREAD * expected.std()


def test_lists_in_a_file_do_without_the_collection_and_make_the_same_twin(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, lists = save_reranker(tmp_path / "teacher"), tmp_path / "lists.npz"
    assert _train(teacher, collection, tmp_path / "straight", steps=3) == 0
    data = ["--data", f"{collection}:train"]
    common = f"--steps 3 --threads 1 --learning-rate 1e-3 --lists {lists}".split()
    common = [str(teacher), *common, "--out", str(tmp_path / "from-file")]
    assert main(common) == 2
    assert "there are no lists" in capsys.readouterr().err
    assert main([*common, *data, "--lists-only"]) == 0
    assert not (tmp_path / "from-file").exists()
    assert main(common) == 0
    straight, from_file = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "from-file")
    )
    assert straight == from_file


def test_numbers_of_queries_that_do_not_fit_the_collections_are_refused(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["zen-mini", "--data", f"{collection}:train", "--out", str(tmp_path / "twin")]
    assert main([*arguments, "--queries", "3", "4"]) == 2
    assert "2 numbers for 1 collections" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--queries 3 4 --data a", "2 numbers for 1 collections"),
        ("", "there are no lists"),
        ("--data a --lists absent/lists.npz", "there is no folder absent"),
        ("--data a --steps 0", "--steps=0"),
        ("--data a --lists-per-step 0", "--lists-per-step=0"),
        ("--data a --max-length 0", "--max-length=0"),
        ("--data a --out file/twin", "is a file"),
    ],
)
def test_options_are_checked_before_a_model_is_loaded(
    options: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    assert main(["no/such/model", "--out", "twin", *options.split()]) == 2
    assert message in capsys.readouterr().err


def test_teacher_without_a_twin_is_refused(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save_reranker(tmp_path / "roberta", "roberta")
    assert _train(teacher, collection, tmp_path / "twin", steps=1) == 2
    assert "is not a BERT cross-encoder" in capsys.readouterr().err


def test_interrupted_run_goes_on_as_if_it_had_not_been(
    collection: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = save_reranker(tmp_path / "teacher")
    monkeypatch.setitem(distilling.CHECKPOINT_EVERY, "cpu", 3)
    assert _train(teacher, collection, tmp_path / "whole", steps=8) == 0
    step = Distillation._step

    def interrupted(self: Distillation, index: int) -> torch.Tensor:
        if index == 5:
            raise KeyboardInterrupt
        return step(self, index)

    monkeypatch.setattr(Distillation, "_step", interrupted)
    assert _train(teacher, collection, tmp_path / "parts", steps=8) == 130
    monkeypatch.setattr(Distillation, "_step", step)
    assert _train(teacher, collection, tmp_path / "parts", steps=9) == 2
    assert "give the same options" in capsys.readouterr().err
    assert _train(teacher, collection, tmp_path / "parts", steps=8) == 0
    whole, parts = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert whole == parts
    assert not (tmp_path / "parts.checkpoint.pt").exists()
