"""An index on disk: where it may be written, and what is said where it cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bm25s")
pytest.importorskip("usearch")

from tiny_embedders import save_embedder
from tiny_tokenizers import SENTENCES

from zen_fast import InvalidArgumentError, InvalidTypeError, ZenEmbedder, ZenRetriever, cli
from zen_fast.checkpoint import location
from zen_fast.command_line import USER_MISTAKE
from zen_fast.retrieval import IndexFolderError, opening
from zen_fast.retrieval.index_folder import MANIFEST, require_index_folder

QUERY = "which gases trap heat?"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> ZenEmbedder:
    folder = tmp_path_factory.mktemp("embedder")
    save_embedder(folder)
    return ZenEmbedder.from_pretrained(folder, num_threads=1)


def _change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def _leave_behind(folder: Path, digit: str) -> None:
    """What a save that is killed before its end leaves."""
    name = f"data-{digit * 32}"
    (folder / name).mkdir(parents=True)
    (folder / name / "documents.jsonl").write_text("[]")
    (folder / f".{name}.json").write_text("{")


def test_leftovers_of_killed_saves_are_no_obstacle_and_go_with_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    retriever = ZenRetriever.from_corpus(SENTENCES)
    _leave_behind(folder, "a")
    retriever.save(folder)
    (data,) = folder.glob("data-*")
    assert sorted(path.name for path in folder.iterdir()) == sorted([data.name, MANIFEST])
    _leave_behind(folder, "b")
    (folder / "notes.txt").write_text("mine")
    retriever.save(folder)
    (data,) = folder.glob("data-*")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [data.name, MANIFEST, "notes.txt"]
    )
    assert len(ZenRetriever.load(folder)) == len(SENTENCES)


def test_a_manifest_that_names_another_folder_does_not_delete_it(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    retriever = ZenRetriever.from_corpus(SENTENCES)
    retriever.save(folder)
    (tmp_path / "mine").mkdir()
    _change_manifest(folder, lambda manifest: manifest.update(data="../mine"))
    retriever.save(folder)
    assert (tmp_path / "mine").is_dir()
    assert len(list(folder.glob("data-*"))) == 1


@pytest.mark.parametrize("name", ["notes.txt", "data-mine", "data-" + "A" * 32])
def test_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    _leave_behind(tmp_path, "a")
    require_index_folder(tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(IndexFolderError, match="holds something that is no index"):
        require_index_folder(tmp_path)


@pytest.mark.parametrize("name", ["file", "file/index", "file/deep/index"])
def test_file_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IndexFolderError, match="file is no folder"):
        require_index_folder(tmp_path / name)


def test_a_folder_that_is_new_is_accepted_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    require_index_folder(Path("new"))
    require_index_folder(Path("new/and/deep"))
    require_index_folder(Path())


def test_index_command_checks_its_folder_before_it_reads_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["index", "--embedder", "absent/m", "absent.txt", str(tmp_path)]) == (
        USER_MISTAKE
    )
    assert "holds something that is no index" in capsys.readouterr().err


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: next(folder.glob(f"data-*/{name}")).unlink()


def _empty(name: str) -> Callable[[Path], object]:
    return lambda folder: next(folder.glob(f"data-*/{name}")).write_bytes(b"")


def _manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda folder: _change_manifest(folder, change)


@pytest.mark.parametrize(
    "damage",
    [
        _remove("documents.jsonl"),
        _remove("document-offsets.npy"),
        _remove("probes.npy"),
        _remove("vectors.usearch"),
        _remove("bm25/*.json"),
        _remove("bm25/*.npy"),
        _empty("documents.jsonl"),
        _empty("probes.npy"),
        _empty("vectors.usearch"),
        _empty("bm25/*.json"),
        lambda folder: next(folder.glob("data-*")).rename(folder / "elsewhere"),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_bytes(b"\xff"),
        _manifest(lambda manifest: manifest.pop("data")),
        _manifest(lambda manifest: manifest.update(data=3)),
        _manifest(lambda manifest: manifest.pop("settings")),
        _manifest(lambda manifest: manifest.update(settings=None)),
        _manifest(lambda manifest: manifest["settings"].update(colour="red")),
        _manifest(lambda manifest: manifest["settings"].update(mode="sparse")),
        _manifest(lambda manifest: manifest["settings"].pop("weights")),
        _manifest(lambda manifest: manifest.pop("embedder")),
        _manifest(lambda manifest: manifest.update(embedder=None)),
        _manifest(lambda manifest: manifest["embedder"].update(colour="red")),
        _manifest(lambda manifest: manifest["embedder"].pop("model")),
    ],
)
def test_damaged_index_is_named(
    tmp_path: Path, embedder: ZenEmbedder, damage: Callable[[Path], object]
) -> None:
    ZenRetriever.from_corpus(SENTENCES, embedder=embedder, search="hnsw").save(tmp_path)
    damage(tmp_path)
    with pytest.raises(IndexFolderError, match=str(tmp_path)):
        ZenRetriever.load(tmp_path)


@pytest.mark.parametrize("becomes_hybrid", [False, True])
def test_load_takes_the_index_that_replaced_one_while_it_was_opened(
    tmp_path: Path, embedder: ZenEmbedder, becomes_hybrid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ZenRetriever.from_corpus(SENTENCES[:2]).save(tmp_path)
    later = ZenRetriever.from_corpus(SENTENCES, embedder=embedder if becomes_hybrid else None)
    original, reads = opening.read_manifest, []

    def replaced_after_the_first_read(folder: Path) -> dict[str, Any]:
        manifest = original(folder)
        if not reads:
            later.save(tmp_path)
        reads.append(manifest)
        return manifest

    monkeypatch.setattr(opening, "read_manifest", replaced_after_the_first_read)
    loaded = ZenRetriever.load(tmp_path)
    assert (len(loaded), loaded.mode) == (len(SENTENCES), later.mode)
    assert len(reads) == 2


def test_embedder_of_another_kind_than_the_index_needs_is_typed(
    tmp_path: Path, embedder: ZenEmbedder
) -> None:
    for wrong in (3, ["a"]):
        with pytest.raises(InvalidTypeError, match=r"embedder is a .*; pass a ZenEmbedder, or its"):
            ZenRetriever.from_corpus(SENTENCES, embedder=wrong)  # type: ignore[arg-type]
    ZenRetriever.from_corpus(SENTENCES, embedder=embedder).save(tmp_path / "hybrid")
    with pytest.raises(InvalidTypeError, match="embedder is a str; pass a ZenEmbedder"):
        ZenRetriever.load(tmp_path / "hybrid", embedder="model")  # type: ignore[arg-type]
    ZenRetriever.from_corpus(SENTENCES).save(tmp_path / "bm25")
    with pytest.raises(InvalidArgumentError, match="an index by BM25 alone, without vectors"):
        ZenRetriever.load(tmp_path / "bm25", embedder=embedder)


def test_revision_of_the_embedder_is_saved_and_used(
    tmp_path: Path, embedder: ZenEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def download(model: str, revision: str | None, token: str | None) -> Path:
        asked.append(revision)
        return Path(embedder.model)

    monkeypatch.setattr(location, "_download", download)
    pinned = ZenEmbedder.from_pretrained("owner/tiny", num_threads=1, revision="v1")
    ZenRetriever.from_corpus(SENTENCES, embedder=pinned).save(tmp_path)
    ZenRetriever.load(tmp_path)
    _change_manifest(tmp_path, lambda manifest: manifest["embedder"].pop("revision"))
    ZenRetriever.load(tmp_path)  # as an index of early days has it
    assert asked == ["v1", "v1", None]
