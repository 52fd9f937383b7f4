"""A reranker with a prompt scores what the prompt says, and puts an instruction in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_rerankers import save_reranker

from zen_fast import InvalidArgumentError, InvalidTypeError, PromptTemplate, ZenReranker
from zen_fast.checkpoint import load_checkpoint
from zen_fast.checkpoint.quantized import save_quantized

QUERIES = ["what causes climate change", "museum in Berlin"]
DOCUMENTS = ["Greenhouse gases trap heat.", "the museum's café opens at 10:30", "", "zen " * 80]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reranker(tmp_path_factory.mktemp("roberta"), "roberta")


def load(folder: Path, template: str | PromptTemplate | None = None) -> ZenReranker:
    return ZenReranker.from_pretrained(folder, template=template, num_threads=1)


def test_template_that_spells_out_a_pair_scores_as_the_pair(folder: Path) -> None:
    prompted = load(folder, "<s>{query}</s></s>{document}</s>")
    stock = load(folder)
    assert prompted.max_length == stock.max_length
    for query in QUERIES:
        assert np.array_equal(prompted.score(query, DOCUMENTS), stock.score(query, DOCUMENTS))


def test_instruction_goes_where_the_template_says(folder: Path) -> None:
    prompted = load(folder, "<s>{instruction}: {query}</s></s>{document}</s>")
    stock = load(folder)
    queries = [f"Find code: {query}" for query in QUERIES]
    expected = stock.score(queries[0], DOCUMENTS)
    pairs = [(QUERIES[0], document) for document in DOCUMENTS]
    instruction = "Find code"
    assert np.array_equal(prompted.score(QUERIES[0], DOCUMENTS, instruction=instruction), expected)
    assert np.array_equal(prompted.predict(pairs, prompt=instruction), expected)
    assert prompted.rerank(QUERIES[0], DOCUMENTS, instruction=instruction) == stock.rerank(
        queries[0], DOCUMENTS
    )
    assert prompted.rank(QUERIES[0], DOCUMENTS, prompt=instruction) == stock.rank(
        queries[0], DOCUMENTS
    )
    lists = [DOCUMENTS, DOCUMENTS[::-1]]
    assert prompted.batch_rerank(QUERIES, lists, instruction=instruction) == stock.batch_rerank(
        queries, lists
    )
    with pytest.raises(InvalidTypeError, match="instruction is an int"):
        prompted.score(QUERIES[0], DOCUMENTS, instruction=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="needs an instruction"):
        prompted.score(QUERIES[0], DOCUMENTS)


def test_saved_prompt_is_the_default_instruction(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    modules = [{"type": "sentence_transformers.base.modules.transformer.Transformer", "path": ""}]
    saved = {
        "model_type": "CrossEncoder",
        "prompts": {"code": "Find code"},
        "default_prompt_name": "code",
    }
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(saved))
    prompted = load(tmp_path, "<s>{instruction}: {query}</s></s>{document}</s>")
    expected = load(folder).score(f"Find code: {QUERIES[0]}", DOCUMENTS)
    assert np.array_equal(prompted.score(QUERIES[0], DOCUMENTS), expected)
    other = prompted.score(QUERIES[0], DOCUMENTS, instruction="Find cafés")
    assert not np.array_equal(other, expected)


def test_instruction_for_a_model_without_a_prompt_is_an_error(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="trained with no instruction"):
        load(folder).rerank(QUERIES[0], DOCUMENTS, instruction="Find code")


def test_template_does_not_change_the_activation_of_a_classifier(folder: Path) -> None:
    template = PromptTemplate(("<s>{query}</s></s>{document}</s>",), activation="identity")
    assert load(folder, template).activation.name == "Sigmoid"


def test_quantized_folder_keeps_the_prompt(folder: Path, tmp_path: Path) -> None:
    source = shutil.copytree(folder, tmp_path / "source")
    (source / "1_LogitScore").mkdir()
    files = {
        "prompt_template.json": '{"parts": ["<s>{query}</s></s>{document}</s>"]}',
        "chat_template.jinja": "{{ messages }}",
        "1_LogitScore/config.json": "{}",
    }
    for name, content in files.items():
        (source / name).write_text(content)
    save_quantized(load_checkpoint(source), "roberta", tmp_path / "int8")
    for name, content in files.items():
        assert (tmp_path / "int8" / name).read_text() == content
    quantized = load(tmp_path / "int8")
    assert quantized.score(QUERIES[0], DOCUMENTS).shape == (len(DOCUMENTS),)
    with pytest.raises(InvalidArgumentError, match="no place for one"):
        quantized.score(QUERIES[0], DOCUMENTS, instruction="Find code")
