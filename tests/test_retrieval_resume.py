"""What an encoding keeps to go on from: under which names, and what is deleted afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("usearch")

from tiny_embedders import save_embedder
from tiny_tokenizers import SENTENCES

from zen_fast import ZenEmbedder, ZenRetriever, cli
from zen_fast.retrieval import corpus_encoding
from zen_fast.retrieval.corpus_encoding import probe
from zen_fast.retrieval.resume_folder import ResumeFolder

LONG = " ".join(SENTENCES * 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedder")
    save_embedder(folder)
    return folder


@pytest.fixture
def passages(tmp_path: Path) -> str:
    path = tmp_path / "passages.txt"
    path.write_text("\n".join(SENTENCES), encoding="utf-8")
    return str(path)


def _contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("has_embedder", [False, True])
def test_index_command_keeps_what_else_is_in_the_partial_folder(
    tmp_path: Path, model: Path, passages: str, has_embedder: bool
) -> None:
    partial = tmp_path / "index.partial"
    partial.mkdir()
    (partial / "notes.txt").write_text("mine")
    options = ["--embedder", str(model), "--threads", "1"] if has_embedder else []
    assert cli.main(["index", *options, passages, str(tmp_path / "index")]) == 0
    assert _contents(partial) == ["notes.txt"]


def test_clear_deletes_used_shards_and_the_folder_once_it_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "index.partial"
    first = ResumeFolder.beside(tmp_path / "index")
    for key in ("a", "b"):
        first.shard(key, lambda: np.zeros(2))
    (folder / "a.123.tmp").write_text("of a run that was killed")
    again = ResumeFolder(folder)
    assert again.shard("a", lambda: np.ones(2)).tolist() == [0, 0]
    again.clear()
    assert _contents(folder) == ["b.npy"]
    first.clear()
    assert not folder.exists()


@pytest.mark.parametrize(
    "change", [{"max_length": 40}, {"dimensions": 8}, {"normalize": False}, {"precision": "fp32"}]
)
def test_shards_of_other_settings_are_not_used(
    tmp_path: Path, model: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedders = [
        ZenEmbedder.from_pretrained(model, num_threads=1, **options) for options in ({}, change)
    ]
    if "max_length" in change:  # the probes alone cannot tell these apart
        np.testing.assert_array_equal(probe(embedders[0]), probe(embedders[1]))
    encoded: list[str] = []
    original = ZenEmbedder.encode_documents

    def noting(self: ZenEmbedder, texts: Sequence[str], **options: Any) -> np.ndarray:
        encoded.extend(texts)
        return original(self, texts, **options)

    monkeypatch.setattr(ZenEmbedder, "encode_documents", noting)
    for embedder in (*embedders, embedders[0]):
        ZenRetriever.from_corpus([LONG], embedder=embedder, resume_folder=tmp_path)
    assert encoded.count(LONG) == 2
    assert len(_contents(tmp_path)) == 2


def test_shards_outlive_a_move_of_the_model_and_another_query_prompt(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model, tmp_path / "moved")
    shards = tmp_path / "shards"
    monkeypatch.setattr(corpus_encoding, "SHARD_DOCUMENTS", 4)
    for folder, query_prompt in ((model, None), (tmp_path / "moved", "query: ")):
        embedder = ZenEmbedder.from_pretrained(folder, num_threads=1, query_prompt=query_prompt)
        ZenRetriever.from_corpus(SENTENCES, embedder=embedder, resume_folder=shards)
    assert len(_contents(shards)) == 3
