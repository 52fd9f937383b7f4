"""`zen-fast index` and `zen-fast search`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("usearch")

from tiny_embedders import save_embedder
from tiny_rerankers import save_reranker
from tiny_tokenizers import SENTENCES

from zen_fast import ZenReranker, ZenRetriever, cli
from zen_fast.command_line import USER_MISTAKE

QUERY = SENTENCES[0]


@pytest.fixture
def passages(tmp_path: Path) -> str:
    path = tmp_path / "passages.txt"
    path.write_text("\n".join(SENTENCES), encoding="utf-8")
    return str(path)


def test_index_then_search_prints_a_readable_ranking(
    tmp_path: Path, passages: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_embedder(tmp_path / "embedder")
    index = str(tmp_path / "index")
    options = ["--embedder", str(tmp_path / "embedder"), "--threads", "1", "--search", "hnsw"]
    assert cli.main(["index", *options, passages, index]) == 0
    assert "indexed 10 documents for hybrid search" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedder", "index", "passages.txt"]
    assert cli.main(["search", "--index", index, "--k", "2", QUERY]) == 0
    found = ZenRetriever.load(index).retrieve(QUERY, 2)
    assert capsys.readouterr().out.splitlines() == [
        f"{rank}  {each.score:>8.4f}  {each.text}" for rank, each in enumerate(found, start=1)
    ]


def test_search_reranks_candidates(
    tmp_path: Path, passages: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(save_reranker(tmp_path / "reranker"))
    index = str(tmp_path / "index")
    assert cli.main(["index", passages, index]) == 0
    capsys.readouterr()
    options = ["--rerank", model, "--candidates", "4", "--k", "2", "--json", "--threads", "1"]
    assert cli.main(["search", "--index", index, *options, QUERY]) == 0
    candidates = ZenRetriever.load(index).retrieve(QUERY, 4)
    expected = ZenReranker.from_pretrained(model, num_threads=1).rerank(QUERY, candidates, k=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["document"]["id"] for line in lines] == [each.document["id"] for each in expected]
    assert [line["score"] for line in lines] == [each.score for each in expected]


def test_search_in_int8_and_in_time(
    tmp_path: Path, passages: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index = str(tmp_path / "index")
    assert cli.main(["index", passages, index]) == 0
    capsys.readouterr()
    options = ["--rerank", "zen-mini", "--k", "2", "--json", "--threads", "1"]
    assert cli.main(["search", "--index", index, *options, "--precision", "int8", QUERY]) == 0
    reranker = ZenReranker.from_pretrained(precision="int8", num_threads=1)
    expected = reranker.rerank(QUERY, ZenRetriever.load(index).retrieve(QUERY, 100), k=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["score"] for line in lines] == [each.score for each in expected]
    late = ["--deadline-ms", "0.001", "--k", "50"]
    assert cli.main(["search", "--index", index, *options, *late, " ".join(SENTENCES)]) == 0
    said = capsys.readouterr()
    assert "time was up" in said.err
    assert json.loads(said.out.splitlines()[-1])["score"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--index", "{index}", "--early-stop", "0.9", "q"], "name one with --rerank"),
        (["search", "--index", "{index}", "--deadline-ms", "9", "q"], "name one with --rerank"),
        (
            ["search", "--index", "{index}", "--rerank", "zen-mini", "--candidates", "0", "q"],
            "--candidates 0",
        ),
    ],
)
def test_mistakes_beside_an_index_are_one_line(
    tmp_path: Path,
    passages: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    index = str(tmp_path / "index")
    assert cli.main(["index", passages, index]) == 0
    assert cli.main([each.format(index=index) for each in arguments]) == USER_MISTAKE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--index", "{here}", "q"], "holds no index"),
        (["index", "absent.txt", "{here}/index"], "cannot read absent.txt"),
        (["index", "--mode", "dense", "{passages}", "{here}/index"], "needs an embedder"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    passages: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    filled = [each.format(here=tmp_path, passages=passages) for each in arguments]
    assert cli.main(filled) == USER_MISTAKE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
