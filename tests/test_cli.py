from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_rerankers import save_reranker
from tiny_tokenizers import SENTENCES

import zen_fast
from zen_fast import ZenReranker, cli, quantize, rerank
from zen_fast.document_files import read_documents
from zen_fast.errors import InvalidArgumentError

QUERY = SENTENCES[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reranker(tmp_path_factory.mktemp("model"))


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    path = tmp_path / "passages.txt"
    path.write_text("\n".join([*SENTENCES[:3], "", "  ", *SENTENCES[3:]]), encoding="utf-8")
    return path


def run(*arguments: object) -> int:
    return cli.main(["rerank", "--threads", "1", *map(str, arguments)])


def test_rerank_prints_a_readable_ranking(
    folder: Path, passages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--query", QUERY, "--model", folder, "--k", 3, passages) == 0
    ranked = ZenReranker.from_pretrained(folder).rerank(QUERY, SENTENCES, k=3)
    assert capsys.readouterr().out.splitlines() == [
        f"{rank}  {result.score:>8.4f}  {result.document}"
        for rank, result in enumerate(ranked, start=1)
    ]


def test_rerank_json_prints_one_object_per_result(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "corpus.jsonl"
    records: list[Any] = [{"body": text, "id": i} for i, text in enumerate(SENTENCES)]
    records.append("a bare string")
    records.append({"body": "lone \ud800 surrogate 人"})
    path.write_text("\n".join(map(json.dumps, records)))
    options = ("--text-field", "body", "--json", "--k", 99)
    assert run("--query", QUERY, "--model", folder, *options, path) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["rank"] for result in results] == list(range(1, len(records) + 1))
    assert sorted(results, key=lambda result: -result["score"]) == results
    for result in results:
        assert result["document"] == records[result["line"] - 1]


def test_rerank_puts_the_instruction_into_the_template(
    folder: Path, passages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = "[CLS] {instruction}: {query} [SEP] {document} [SEP]"
    options = ("--template", template, "--instruction", "Find a page")
    assert run("--query", QUERY, "--model", folder, *options, passages) == 0
    reranker = ZenReranker.from_pretrained(folder, template=template)
    ranked = reranker.rerank(QUERY, SENTENCES, k=10, instruction="Find a page")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        f"{result.score:.4f}" for result in ranked
    ]


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (("--early-stop", "0.9"), r"\d+ given up after layer 1|the rest would not change the best"),
        (("--deadline-ms", "1"), "time was up"),
    ],
)
def test_rerank_says_why_some_lines_have_no_score(
    option: tuple[str, str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "passages.txt"
    path.write_text("\n".join(f"{text} {n}" for n in range(12) for text in SENTENCES[:5]))
    assert run("--query", QUERY, "--k", 1, *option, path) == 0
    said = capsys.readouterr().err
    assert re.search(rf"scored \d+ of 60: ({reason})", said), said


def test_rerank_reads_stdin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = '\ufeff{"text": "one"}\r\n"two"\r\n'.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    arguments = ("--query", QUERY, "--model", folder, "--format", "jsonl", "--json", "-")
    assert run(*arguments) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(result["line"] for result in results) == [1, 2]


def test_rerank_cuts_text_to_the_terminal(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "long.txt"
    path.write_text("word " * 100 + "\n" + "人工知能" * 50 + "\nshort\x1b[2J\tone\n")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run("--query", QUERY, "--model", folder, path) == 0
    lines = {line[13:17]: line for line in capsys.readouterr().out.splitlines()}
    assert len(lines["word"]) == 40
    assert lines["word"].endswith("…")
    assert lines["人工知能"][13:] == "人工知能" * 3 + "人…"
    assert lines["shor"][13:] == "short [2J one"


def test_rerank_empty_input_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("\n \n")
    assert run("--query", QUERY, "--model", folder, path) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "has no documents" in captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "no/such/model/at/all"], "no/such/model/at/all"),
        (["--k", "0"], "k=0: it must be at least 1"),
        (["--max-length", "1000"], "max_length=1000 is beyond this model"),
        (["--threads", "0"], "num_threads=0"),
    ],
)
def test_rerank_user_mistake_is_one_line_and_status_2(
    folder: Path,
    passages: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    arguments = ["--query", QUERY, "--model", folder, *options, passages]
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("zen-fast: error: ")
    assert message in captured.err


def test_read_documents_bad_file_raises_naming_file_and_line(tmp_path: Path) -> None:
    for name, content, message in (
        ("bad.jsonl", b'{"text": "a"}\n{"text": \n', r"bad\.jsonl, line 2 is no JSON: .*column"),
        ("list.jsonl", b'"a"\n\n[1]', r"list\.jsonl, line 3 is neither"),
        ("field.ndjson", b'{"body": 1}', r"line 1 has no string under 'text' .*'body'.*--text-f"),
        ("null.json", b'{"text": null}', "line 1 has no string under 'text'"),
        ("latin.txt", b"fine\ncaf\xe9", r"latin\.txt, line 2 is not UTF-8 at byte 3"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InvalidArgumentError, match=message):
            read_documents(str(path))
    for missing in ("nothing.txt", "."):
        with pytest.raises(InvalidArgumentError, match="cannot read"):
            read_documents(str(tmp_path / missing))


def test_json_and_tables_are_not_taken_for_plain_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'{"text": "Greenhouse gases trap heat."}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line)))
    assert run("--query", QUERY, "-") == 2
    assert "stdin looks like JSON lines" in capsys.readouterr().err
    for name, content, message in (
        ("corpus.txt", line, "looks like JSON lines"),
        ("corpus.csv", b"id,text\n1,a\n", "is a table"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InvalidArgumentError, match=message):
            read_documents(str(path))
        assert read_documents(str(path), "text")[0].text == content.decode().split("\n")[0]
        assert cli.main(["index", str(path), str(tmp_path / "index")]) == 2
        assert message in capsys.readouterr().err
    for plain in ("[1] is a footnote", "{braces} are no JSON"):
        (tmp_path / "plain.txt").write_text(plain)
        assert read_documents(str(tmp_path / "plain.txt"))[0].text == plain


def test_format_overrides_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "a"}\n')
    assert read_documents(str(path))[0].text == "a"
    assert read_documents(str(path), "text")[0].text == '{"text": "a"}'


def test_help_names_every_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    for name in cli.JOBS:
        assert f"  {name} " in shown
    assert cli.main([]) == 2
    assert capsys.readouterr().err == shown


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"zen-fast {zen_fast.__version__}\n"


def test_unknown_job_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rernk"]) == 2
    assert "did you mean 'rerank'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("quantize --texts FOLDER zen-mini out/", "MODEL"),
        ("quantize zen-mini --texts FOLDER out/", "OUT"),
        ("platt --data a --held-out b zen-mini out/", "MODEL"),
        ("calibrate --data a zen-mini", "MODEL"),
        ("twin --out twin/ --data a zen-mini", "MODEL"),
    ],
)
def test_positional_that_an_option_took_is_given_back_by_two_dashes(
    command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(command.split())
    assert end.value.code == 2
    assert f"; put -- before {name} to end" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["quantize zen-mini", "calibrate zen-mini", "platt zen-mini o"])
def test_two_dashes_are_no_remedy_where_no_option_took_anything(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(command.split())
    assert " -- " not in capsys.readouterr().err


def test_two_dashes_end_the_values_of_an_option() -> None:
    parsed = quantize.build_parser().parse_args(["--texts", "a", "b", "--", "zen-mini", "out"])
    assert (parsed.texts, parsed.model, parsed.out) == (["a", "b"], "zen-mini", Path("out"))


@pytest.mark.parametrize("job", cli.JOBS)
def test_every_job_has_help(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([job, "--help"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize("job", cli.JOBS)
def test_every_job_is_a_module_of_its_name(job: str) -> None:
    command = [sys.executable, "-m", f"zen_fast.{job}", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "usage: " in shown


def test_interrupt_ends_quietly(
    passages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rerank, "read_documents", interrupt)
    assert run("--query", QUERY, passages) == 130
    assert capsys.readouterr().err == ""


def test_modules_run_as_programs_and_a_closed_pipe_is_quiet(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("\n".join(f"document {i} " + "x" * 5_000 for i in range(200)))
    arguments = ["--query", "q", "--model", str(folder), "--k", "200", str(path)]
    for module in (["zen_fast", "rerank"], ["zen_fast.rerank"]):
        process = subprocess.Popen(
            [sys.executable, "-m", *module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(zen_fast.__file__).parents[1],
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"  1  ")
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""
        process.stderr.close()
