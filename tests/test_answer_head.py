"""Language models as generative rerankers: the head made of their answer's tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from random_language_models import NO, RANDOM_LANGUAGE_MODELS, YES  # noqa: E402
from random_models import VOCAB_SIZE  # noqa: E402
from tiny_language_models import save_t5  # noqa: E402
from tiny_rerankers import save_reranker  # noqa: E402
from tolerances import PARITY_PER_SPREAD  # noqa: E402

from zen_fast import PromptTemplate, ZenReranker  # noqa: E402
from zen_fast.backends.cpu import CpuBackend  # noqa: E402
from zen_fast.batching import TokenizedPair, pack  # noqa: E402
from zen_fast.checkpoint import load_checkpoint  # noqa: E402
from zen_fast.checkpoint.quantized import save_quantized  # noqa: E402
from zen_fast.cli import main  # noqa: E402
from zen_fast.encoder import Encoder  # noqa: E402
from zen_fast.errors import CheckpointError, UnsupportedModelError  # noqa: E402
from zen_fast.prompts.answer import AnswerTokens  # noqa: E402
from zen_fast.quantization import quantize_weights  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (recipe,) = (each for each in RANDOM_LANGUAGE_MODELS if each.name == "gemma2-yes-no-capped")
    folder = tmp_path_factory.mktemp(recipe.name)
    recipe.save(recipe.build(), folder)
    return folder


@pytest.mark.parametrize("kept_layers", [[], [1]])
def test_quantized_checkpoint_carries_its_answer(
    kept_layers: list[int], folder: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(folder).answering(AnswerTokens(YES, NO))
    save_quantized(checkpoint, "a test", tmp_path / "int8", kept_layers)
    loaded = load_checkpoint(tmp_path / "int8")
    assert loaded.vocabulary is None
    ids = np.arange(3, 33, dtype=np.int32)
    batch = pack([TokenizedPair(ids, np.zeros_like(ids))], checkpoint.spec)
    saved, expected = (
        CpuBackend(Encoder(checkpoint.spec, weights), num_threads=1).forward(batch)
        for weights in (
            loaded.weights,
            quantize_weights(checkpoint.weights, checkpoint.spec, kept_layers),
        )
    )
    np.testing.assert_array_equal(saved, expected)


@pytest.mark.parametrize("answer", [AnswerTokens(VOCAB_SIZE, None), AnswerTokens(1, -1)])
def test_answer_beyond_the_vocabulary_is_refused(answer: AnswerTokens, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=f"vocabulary of {VOCAB_SIZE} tokens"):
        load_checkpoint(folder).answering(answer)


def test_model_without_an_answer_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="which tokens it answers with"):
        save_quantized(load_checkpoint(folder), "a test", tmp_path / "int8")


def test_untied_model_without_its_output_rows_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "untied")
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
    (tmp_path / "untied" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"missing .*lm_head\.weight"):
        load_checkpoint(tmp_path / "untied")


def test_answer_of_a_model_with_a_head_is_refused() -> None:
    with pytest.raises(CheckpointError, match="head of its own"):
        load_checkpoint("zen-mini").answering(AnswerTokens(1, None))


def test_generative_reranker_scores_as_the_stock_model_answers(tmp_path: Path) -> None:
    folder = save_reranker(tmp_path / "model", "roberta")
    vocab_size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = transformers.Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_hidden_layers=2,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    model = transformers.Qwen3ForCausalLM(config).eval()
    model.save_pretrained(folder)
    positive, negative = 7, 9
    template = PromptTemplate(
        ("<s>{query}</s></s>{document}</s>",),
        positive=positive,
        negative=negative,
        activation="identity",
    )
    reranker = ZenReranker.from_pretrained(folder, template=template)
    query, documents = (
        "what makes bread rise",
        ["yeast", "the sun", "flour and water", "", "a", "b"],
    )
    sequences = reranker.engine.encode([query] * len(documents), documents).sequences
    expected = []
    for sequence in sequences:
        ids = torch.from_numpy(sequence.token_ids)[None].long()
        with torch.inference_mode():
            last = model(ids).logits[0, -1].numpy()
        expected.append(last[positive] - last[negative])
    scores = reranker.score(query, documents)
    assert reranker.prefix_cache_statistics().saved_tokens > 0
    assert np.abs(scores - expected).max() <= PARITY_PER_SPREAD * np.std(expected)


def test_t5_reranker_scores_as_mono_t5_does(tmp_path: Path) -> None:
    folder = save_t5(tmp_path / "monot5-base-msmarco")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        initializer_factor=2.0,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    reranker = ZenReranker.from_pretrained(folder)
    query = "what makes bread rise"
    documents = ["yeast", "the sun", "flour and water", "", "a", "b"]
    answers = [tokenizer.convert_tokens_to_ids(token) for token in ("▁false", "▁true")]
    expected = []
    for document in documents:
        prompt = tokenizer(f"Query: {query} Document: {document} Relevant:", return_tensors="pt")
        with torch.inference_mode():
            output = model(**prompt, decoder_input_ids=torch.tensor([[0]]), use_cache=False)
        expected.append(output.logits[0, 0, answers].log_softmax(dim=0)[1].item())
    scores = reranker.score(query, documents)
    assert np.abs(scores - expected).max() <= PARITY_PER_SPREAD * np.std(expected)
    assert main(["quantize", str(folder), str(tmp_path / "int8")]) == 0
    # monoT5's prompt is known by the model's name, which the quantized folder has no longer.
    saved = ZenReranker.from_pretrained(tmp_path / "int8", template="monot5")
    loaded = ZenReranker.from_pretrained(folder, precision="int8")
    np.testing.assert_array_equal(saved.score(query, documents), loaded.score(query, documents))


def test_t5_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    folder = save_t5(tmp_path / "t5")
    config = transformers.T5Config(vocab_size=300, architectures=["T5ForSequenceClassification"])
    config.save_pretrained(folder)
    with pytest.raises(UnsupportedModelError, match="ForConditionalGeneration"):
        load_checkpoint(folder)
