"""Embeddings of the packed engine against sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tiny_embedders import save_embedder  # noqa: E402
from tiny_tokenizers import ODD_TEXTS, SENTENCES  # noqa: E402
from tolerances import EMBEDDING_COSINE, INT8_BACKENDS_COSINE, INT8_EMBEDDING_COSINE  # noqa: E402

from zen_fast import (  # noqa: E402
    CheckpointError,
    InvalidArgumentError,
    InvalidTypeError,
    UnsupportedModelError,
    ZenEmbedder,
)
from zen_fast.spec import Pooling  # noqa: E402

PRETRAINED = Path(__file__).parents[2] / "shared" / "models" / "all-MiniLM-L6-v2"
TEXTS = [*SENTENCES, *ODD_TEXTS, " ".join(SENTENCES)]  # the last is truncated
POOLINGS = [
    stock
    for stock, ours in (("mean", "mean"), ("cls", "first"), ("lasttoken", "last"))
    if ours in get_args(Pooling)
]


def smallest_cosine(vectors: np.ndarray, expected: np.ndarray) -> float:
    """Over the rows; 1 where both are zero."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((vectors * expected).sum(axis=1) / lengths).min())


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_embeddings_equal_stock(tmp_path: Path, kind: str, pooling: str, backend: str) -> None:
    stock = save_embedder(tmp_path, kind, pooling=pooling, normalize=kind == "bert")
    embedder = ZenEmbedder.from_pretrained(tmp_path, backend=backend)
    vectors, expected = embedder.encode(TEXTS), stock.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert smallest_cosine(vectors, expected) >= EMBEDDING_COSINE
    lengths = [np.linalg.norm(each, axis=1) for each in (vectors, expected)]
    np.testing.assert_allclose(*lengths, rtol=1e-4)


@pytest.mark.parametrize(
    ("width", "activation"), [(7680, torch.nn.Identity()), (32, torch.nn.Tanh())]
)
def test_dense_module_takes_the_heads_place(
    tmp_path: Path, width: int, activation: torch.nn.Module
) -> None:
    stock = save_embedder(tmp_path, dense_width=width, dense_activation=activation)
    embedder = ZenEmbedder.from_pretrained(tmp_path)
    assert embedder.dimensions == width
    assert smallest_cosine(embedder.encode(TEXTS), stock.encode(TEXTS)) >= EMBEDDING_COSINE


def test_embedding_is_the_same_alone_and_among_others(tmp_path: Path) -> None:
    save_embedder(tmp_path)
    embedder = ZenEmbedder.from_pretrained(tmp_path)
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(embedder.encode(TEXTS), alone)
    assert embedder.encode([]).shape == (0, 32)


def test_texts_that_are_cut_off_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_embedder(tmp_path)
    embedder = ZenEmbedder.from_pretrained(tmp_path, max_length=12)
    embedder.encode(["short", " ".join(SENTENCES)])
    embedder.encode(SENTENCES)
    assert [record.message for record in caplog.records if "cut off" in record.message] == [
        "1 of 2 texts were cut off to fit into max_length=12 tokens; where the model has more "
        "positions, a larger max_length reads more of them (this is said once)"
    ]


def test_prompts_come_before_texts(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: ", "topic": "topic: "}
    stock = save_embedder(tmp_path, prompts=prompts, default_prompt_name="topic")
    embedder = ZenEmbedder.from_pretrained(tmp_path)
    for vectors, prompt in (
        (embedder.encode(TEXTS), "topic: "),
        (embedder.encode_queries(TEXTS), "query: "),
        (embedder.encode_documents(TEXTS), "passage: "),
        (embedder.encode(TEXTS, prompt=""), ""),
    ):
        expected = stock.encode(TEXTS, prompt=prompt)
        assert smallest_cosine(vectors, expected) >= EMBEDDING_COSINE
    own = ZenEmbedder.from_pretrained(tmp_path, query_prompt="ask: ").encode_queries(TEXTS)
    assert smallest_cosine(own, stock.encode(TEXTS, prompt="ask: ")) >= EMBEDDING_COSINE


def test_dimensions_cut_and_normalize_again(tmp_path: Path) -> None:
    stock = save_embedder(tmp_path)
    vectors = ZenEmbedder.from_pretrained(tmp_path, dimensions=5).encode(TEXTS)
    expected = stock.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    assert smallest_cosine(vectors, expected) >= EMBEDDING_COSINE
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_int8_backends_agree_and_stay_near_fp32(tmp_path: Path) -> None:
    save_embedder(tmp_path)
    exact = ZenEmbedder.from_pretrained(tmp_path).encode(TEXTS)
    cpu, reference = (
        ZenEmbedder.from_pretrained(tmp_path, precision="int8", backend=backend).encode(TEXTS)
        for backend in ("cpu", "reference")
    )
    assert smallest_cosine(cpu, reference) >= INT8_BACKENDS_COSINE
    assert smallest_cosine(cpu, exact) >= INT8_EMBEDDING_COSINE


def test_body_without_modules_is_mean_pooled(tmp_path: Path) -> None:
    stock = save_embedder(tmp_path, normalize=False)
    vectors = ZenEmbedder.from_pretrained(tmp_path / "body").encode(TEXTS)
    assert smallest_cosine(vectors, stock.encode(TEXTS)) >= EMBEDDING_COSINE


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_embeddings_equal_stock_on_pretrained_weights(precision: str) -> None:
    if not PRETRAINED.is_dir():
        pytest.skip(f"{PRETRAINED.name} is not in ../shared/models")
    from sentence_transformers import SentenceTransformer

    stock = SentenceTransformer(
        str(PRETRAINED), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    texts = [*SENTENCES, " ".join(SENTENCES * 4)]
    vectors = ZenEmbedder.from_pretrained(PRETRAINED, precision=precision).encode(texts)
    limit = {"fp32": EMBEDDING_COSINE, "int8": INT8_EMBEDDING_COSINE}[precision]
    assert smallest_cosine(vectors, stock.encode(texts)) >= limit


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pools by max; accepted"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.Softmax"}, "Softmax"),
        ("2_Dense/config.json", {"use_residual": True}, "use_residual"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "manhattan"}, "manhattan"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    ],
)
def test_unsupported_setting_is_named(
    tmp_path: Path, file: str, change: dict[str, Any], message: str
) -> None:
    save_embedder(tmp_path, dense_width=8)
    path = tmp_path / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UnsupportedModelError, match=message):
        ZenEmbedder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_threads": "2"}, InvalidTypeError, "num_threads is a str; pass a whole number"),
        ({"num_threads": 1.5}, InvalidTypeError, "num_threads is a float"),
        ({"num_threads": True}, InvalidTypeError, "num_threads is a bool"),
        ({"num_threads": 0}, InvalidArgumentError, "num_threads=0: it must be at least 1"),
        ({"query_prompt": 3}, InvalidTypeError, "query_prompt is an int; pass a string"),
        ({"document_prompt": b"a"}, InvalidTypeError, "document_prompt is bytes"),
    ],
)
def test_arguments_are_checked_before_the_model_is_loaded(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ZenEmbedder.from_pretrained("absent/model/at/all", **arguments)


def test_mistakes_are_typed(tmp_path: Path) -> None:
    save_embedder(tmp_path, dense_width=8)
    with pytest.raises(InvalidArgumentError, match="have 8 columns"):
        ZenEmbedder.from_pretrained(tmp_path, dimensions=9)
    with pytest.raises(InvalidArgumentError, match="dimensions=0"):
        ZenEmbedder.from_pretrained(tmp_path, dimensions=0)
    embedder = ZenEmbedder.from_pretrained(tmp_path)
    with pytest.raises(InvalidTypeError, match="wrap it in a list"):
        embedder.encode("a text")
    with pytest.raises(InvalidTypeError, match="prompt is an int"):
        embedder.encode(["a text"], prompt=3)  # type: ignore[arg-type]
    settings = tmp_path / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"default_prompt_name": "ask"}))
    with pytest.raises(CheckpointError, match="default_prompt_name='ask'"):
        ZenEmbedder.from_pretrained(tmp_path)
    settings.write_text("{}")
    modules = tmp_path / "modules.json"
    modules.write_text(json.dumps(json.loads(modules.read_text())[::-1]))
    with pytest.raises(UnsupportedModelError, match="accepted are Transformer"):
        ZenEmbedder.from_pretrained(tmp_path)


def test_a_reranker_as_embedder_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    ZenEmbedder.from_pretrained("zen-mini", num_threads=1)
    (message,) = [each.message for each in caplog.records if "classifier" in each.message]
    assert "give a bi-encoder as embedder" in message
