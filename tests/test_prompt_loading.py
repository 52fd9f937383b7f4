"""A checkpoint's prompt and answer come from what it says; where it says nothing, an error does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from tiny_language_models import save_gemma, save_qwen2, save_t5
from tiny_tokenizers import ODD_TEXTS, random_text

from zen_fast.errors import (
    CheckpointError,
    InvalidArgumentError,
    InvalidTypeError,
    UnsupportedModelError,
)
from zen_fast.prompts import TEMPLATES, PromptTemplate
from zen_fast.prompts.chat_template import chat_prompt_template
from zen_fast.prompts.loading import Prompt, load_prompt
from zen_fast.sentence_transformers_settings import read_settings
from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

CAUSAL = ["Qwen3ForCausalLM"]


def load(
    folder: Path, model: str = "my/model", template: Any = None, **config_entries: Any
) -> Prompt | None:
    config, settings = (
        json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer_config.json")
    )
    config = {"architectures": CAUSAL, **config, **config_entries}
    stock = load_stock_tokenizer(folder, config, settings)
    return load_prompt(
        folder, config, settings, stock, read_settings(folder), model=model, template=template
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Callable[[Path], Path], Path]:
    """A saved tokenizer by the function that saves it."""
    savers = (save_qwen2, save_gemma, save_t5)
    return {save: save(tmp_path_factory.mktemp("tokenizer")) for save in savers}


@pytest.mark.parametrize(
    ("model", "save", "model_type", "template", "answers"),
    [
        ("Qwen/Qwen3-Reranker-0.6B", save_qwen2, "qwen3", "qwen3-reranker", ("yes", "no")),
        ("qwen3-reranker-4b-int8/", save_qwen2, "qwen3", "qwen3-reranker", ("yes", "no")),
        (
            "/hub/models--Qwen--Qwen3-Reranker-8B/snapshots/5fa94080",
            save_qwen2,
            "qwen3",
            "qwen3-reranker",
            ("yes", "no"),
        ),
        (
            "mixedbread-ai/mxbai-rerank-large-v2",
            save_qwen2,
            "qwen2",
            "mxbai-rerank-v2",
            ("1", "0"),
        ),
        (
            "BAAI/bge-reranker-v2-gemma",
            save_gemma,
            "gemma",
            "bge-reranker-v2-gemma",
            ("Yes", None),
        ),
        ("castorini/monot5-base-msmarco", save_t5, "t5", "monot5", ("▁true", "▁false")),
        ("unicamp-dl/mt5-base-mmarco-v2", save_t5, "mt5", "monot5", ("▁yes", "▁no")),
    ],
)
def test_published_models_are_known_by_name(
    folders: dict[Callable[[Path], Path], Path],
    model: str,
    save: Callable[[Path], Path],
    model_type: str,
    template: str,
    answers: tuple[str, str | None],
) -> None:
    folder = folders[save]
    vocabulary = transformers.AutoTokenizer.from_pretrained(str(folder)).get_vocab()
    generative = {"architectures": ["T5ForConditionalGeneration"], "model_type": model_type}
    for prompt in (
        load(folder, model, **generative),
        load(folder, "my/model", **generative, _name_or_path=model),
        load(folder, "my/model", **generative, quantization_config={"source": model}),
    ):
        assert prompt is not None
        assert prompt.template.parts == TEMPLATES[template].parts
        assert prompt.answer is not None
        assert prompt.answer.positive == vocabulary[answers[0]]
        expected = None if answers[1] is None else vocabulary[answers[1]]
        assert prompt.answer.negative == expected


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("my/model", {}),
        ("my/qwen3-rerankers", {}),
        ("Qwen/Qwen3-0.6B", {}),
        ("Qwen/Qwen3-Reranker-0.6B", {"model_type": "llama"}),
        ("mixedbread-ai/mxbai-rerank-base-v1", {"model_type": "qwen2"}),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_language_model_of_which_nothing_is_known_is_an_error(
    folders: dict[Callable[[Path], Path], Path], model: str, config: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedModelError, match="Pass template="):
        load(folders[save_qwen2], model, **config)


def test_classifier_has_a_prompt_only_where_one_is_given(
    folders: dict[Callable[[Path], Path], Path],
) -> None:
    classifier = {"architectures": ["Qwen3ForSequenceClassification"]}
    assert load(folders[save_qwen2], "Qwen/Qwen3-Reranker-0.6B", **classifier) is None
    prompt = load(folders[save_qwen2], template="qwen3-reranker", **classifier)
    assert prompt == Prompt(TEMPLATES["qwen3-reranker"], None)


def test_users_template_comes_first_and_keeps_a_known_answer(
    folders: dict[Callable[[Path], Path], Path],
) -> None:
    folder, name = folders[save_qwen2], "Qwen/Qwen3-Reranker-0.6B"
    known = load(folder, name)
    prompt = load(folder, name, template="{query}\n{document}\n")
    assert known is not None
    assert prompt is not None
    assert prompt.template.parts == ("{query}\n{document}\n",)
    assert prompt.answer == known.answer
    own = load(folder, template=PromptTemplate(("{query}{document}",), positive="1", negative=3))
    assert own is not None
    assert own.answer is not None
    assert own.answer.negative == 3
    with pytest.raises(UnsupportedModelError, match="which token it answers with"):
        load(folder, template="{query}\n{document}\n")
    with pytest.raises(InvalidArgumentError, match="neither one of 'qwen3-reranker'"):
        load(folder, template="qwen4-reranker")
    with pytest.raises(InvalidTypeError, match="template is a int"):
        load(folder, template=3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [("relevant to it", "makes .* of it"), (10_000, "vocabulary ends"), (-1, "vocabulary ends")],
)
def test_answer_that_is_no_single_token_is_an_error(
    folders: dict[Callable[[Path], Path], Path], answer: str | int, message: str
) -> None:
    for fields in ({"positive": answer}, {"positive": "yes", "negative": answer}):
        with pytest.raises(CheckpointError, match=message):
            load(folders[save_qwen2], template=replace(TEMPLATES["qwen3-reranker"], **fields))


def test_checkpoints_own_statement_is_taken(tmp_path: Path) -> None:
    save_qwen2(tmp_path)
    template = replace(TEMPLATES["mxbai-rerank-v2"], max_length=100)
    path = tmp_path / "prompt_template.json"
    path.write_text(json.dumps(template.to_json()))
    prompt = load(tmp_path, "Qwen/Qwen3-Reranker-0.6B")
    assert prompt is not None
    assert prompt.template == template
    for content in ({"part": ["{query}{document}"]}, {}, {"parts": ["{query}"]}, {"parts": 3}):
        path.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match="is no template"):
            load(tmp_path)


CHAT_TEMPLATES = {
    "default instruction": (
        "<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n<Instruct>: "
        "{{ messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first "
        "| default('Find passages') }}\n<Query>: "
        "{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}"
        "\n<Document>: "
        "{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}"
        "<|im_end|>\n{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "optional instruction": (
        "{% for message in messages %}"
        "{% if message.role == 'system' %}instruction: {{ message.content }}\n"
        "{% else %}{{ message.role }}: {{ message.content }}\n{% endif %}"
        "{% endfor %}Relevance:{{ eos_token }}"
    ),
    "no instruction": (
        "{% set query = (messages | selectattr('role', 'eq', 'query') | first).content %}"
        "{% set text = (messages | selectattr('role', 'eq', 'document') | first).content %}"
        "A: {{ query }}\nB: {{ text }}\nIs A in B?"
    ),
}


@pytest.mark.parametrize("kind", CHAT_TEMPLATES)
def test_sentence_transformers_checkpoint_has_its_ids_and_answer(tmp_path: Path, kind: str) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    cross_encoder = save_cross_encoder(tmp_path, CHAT_TEMPLATES[kind])
    stock = sentence_transformers.CrossEncoder(str(tmp_path), device="cpu")
    prompt = load(tmp_path)
    assert prompt is not None
    assert prompt.answer is not None
    assert (prompt.answer.positive, prompt.answer.negative) == cross_encoder
    config = json.loads((tmp_path / "config.json").read_text())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    own = load_stock_tokenizer(tmp_path, config, settings).prompt_tokenizer(
        prompt.template, longest_supported=512, cache_bytes=10**6
    )
    rng = random.Random(0)
    documents = [*ODD_TEXTS, "new lines\n\n", *(random_text(rng, 8 * i) for i in range(30))]
    for instruction in (None, "Find code") if kind != "no instruction" else (None,):
        encoded = own.encode_pairs(["a query\n"] * len(documents), documents, instruction)
        for document, pair in zip(documents, encoded, strict=True):
            features = stock.preprocess([("a query\n", document)], prompt=instruction)
            expected = features["input_ids"][0].tolist()
            assert pair.token_ids.tolist() == expected, (document, instruction)


def save_cross_encoder(folder: Path, chat_template: str) -> tuple[int, int]:
    """A whole random CrossEncoder with a LogitScore, saved; its answer's token ids."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    save_qwen2(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(str(folder))
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1,
        intermediate_size=16,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    positive, negative = (tokenizer.get_vocab()[word] for word in ("yes", "no"))
    transformer = Transformer(
        str(folder),
        transformer_task="text-generation",
        processing_kwargs={"chat_template": {"add_generation_prompt": True}},
    )
    model = CrossEncoder(modules=[transformer, LogitScore(positive, negative)], device="cpu")
    model.save_pretrained(str(folder))
    return positive, negative


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("{{ messages[0].content | trim }} {{ messages[1].content }}", UnsupportedModelError, "ch"),
        ("{{ messages[0].content }}", UnsupportedModelError, "no place"),
        ("{{ messages[-2].content }}{{ messages[-1].content }}", None, ""),
        ("{{ messages[0].content }}{{ messages[1].content }}", UnsupportedModelError, "no place"),
        ("{{ raise_exception('only users') }}", CheckpointError, "only users"),
        ("{% if %}", CheckpointError, "cannot be parsed"),
        (
            "{{ messages | length }}{{ messages[-2].content }}{{ messages[-1].content }}",
            None,
            "",
        ),
        (
            "{% for m in messages %}{{ m.content }}{{ m.role }}{% endfor %}"
            "{% if messages | length > 2 %}{{ messages[0].content }}{% endif %}",
            UnsupportedModelError,
            "more with an instruction",
        ),
    ],
)
def test_chat_template_that_is_no_template_is_an_error(
    source: str, error: type[Exception] | None, message: str
) -> None:
    if error is None:
        template = chat_prompt_template(source, {}, is_structured=False)
        assert not template.takes_instruction
        return
    with pytest.raises(error, match=message):
        chat_prompt_template(source, {}, is_structured=False)


def test_structured_messages_and_named_templates_are_read() -> None:
    source = "{% for m in messages %}{{ m.role }}={{ m.content[0].text }}\n{% endfor %}"
    template = chat_prompt_template(source, {}, is_structured=True)
    assert template.parts == ("{instruction}query={query}\ndocument={document}\n",)
    assert template.instruction_text("why") == "system=why\n"
    assert template.instruction_text(None) == ""
