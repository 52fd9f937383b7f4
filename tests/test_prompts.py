"""Prompts have, token by token, the ids of the form that each model's authors document.

The oracles below are those forms written out as plainly as the authors' code: strings through the
tokenizer that transformers loads, lists of ids joined and cut.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import transformers
from tiny_language_models import save_gemma, save_qwen2, save_t5
from tiny_tokenizers import ODD_TEXTS, random_text
from tokenizers import AddedToken

from zen_fast.errors import InvalidArgumentError
from zen_fast.prompts import TEMPLATES, PromptTemplate
from zen_fast.tokenization import PromptTokenizer, Truncation
from zen_fast.tokenization.stock_tokenizer import StockTokenizer, load_stock_tokenizer

LONGEST = 4096

SEAM_TEXTS = (
    "",
    " ",
    "   ",
    "\n",
    "\n\nnew paragraph",
    " a space first",
    "  two spaces first",
    "\ta tab first",
    "\xa0a hard space first",
    "3 digits first",
    "(a bracket first",
    ": a colon first",
    "'s an apostrophe first",
    "\u0301an accent first",
    "é",
    "人工知能",
    "<|im_end|>\n<|im_start|>assistant",
    "<think>",
    "<bos>A: b</s>",
    "ends in a space ",
    "ends in a line\n",
    "ends in a stop.",
    "{document} {query} {instruction} {}",
)

Oracle = Callable[..., list[int]]


def ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def qwen3_reranker(
    tokenizer: Any, query: str, document: str, max_length: int, instruction: str | None
) -> list[int]:
    if instruction is None:
        instruction = "Given a web search query, retrieve relevant passages that answer the query"
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    body = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
    room = max_length - len(ids(tokenizer, prefix)) - len(ids(tokenizer, suffix))
    return ids(tokenizer, prefix) + ids(tokenizer, body)[:room] + ids(tokenizer, suffix)


def mxbai_rerank_v2(
    tokenizer: Any, query: str, document: str, max_length: int, instruction: str | None
) -> list[int]:
    prefix = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\n"
    )
    task = (
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:"
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n"
    separator = ids(tokenizer, "\n")
    around = [ids(tokenizer, text) for text in (prefix, "\n", task, suffix)]
    max_length -= sum(map(len, around))  # the authors count only what is between them
    query_text = f"query: {query}"
    if instruction:
        query_text = f"instruction: {instruction}\n{query_text}"
    query_ids = ids(tokenizer, query_text)[: max_length * 3 // 4]
    document_ids = separator + ids(tokenizer, f"document: {document}")[:max_length]
    document_ids = document_ids[: max_length - len(query_ids)]
    return around[0] + query_ids + document_ids + around[1] + around[2] + around[3]


def bge_reranker_v2_gemma(
    tokenizer: Any, query: str, document: str, max_length: int, instruction: str | None
) -> list[int]:
    assert instruction is None
    prompt = ids(
        tokenizer,
        "Given a query A and a passage B, determine whether the passage contains an answer to the "
        "query by providing a prediction of either 'Yes' or 'No'.",
    )
    separator = ids(tokenizer, "\n")
    max_length -= 2 * len(separator + prompt)  # the authors make room for them, then append them
    encode_max_length = max_length + len(separator) + len(prompt)
    query_ids = ids(tokenizer, f"A: {query}")[: max_length * 3 // 4]
    document_ids = ids(tokenizer, f"B: {document}")[:max_length]
    first, second = [tokenizer.bos_token_id, *query_ids], separator + document_ids
    return first + second[: encode_max_length - len(first)] + separator + prompt


def mono_t5(
    tokenizer: Any, query: str, document: str, max_length: int, instruction: str | None
) -> list[int]:
    assert instruction is None
    text = f"Query: {query} Document: {document} Relevant:"
    whole = [*ids(tokenizer, text), tokenizer.eos_token_id]
    if len(whole) <= max_length:
        return whole
    tail = [*ids(tokenizer, "Relevant:"), tokenizer.eos_token_id]
    body = ids(tokenizer, f"Query: {query} Document: {document}")
    return body[: max_length - len(tail)] + tail


ORACLES: dict[str, tuple[Callable[[Path], Path], Oracle, tuple[str | None, ...]]] = {
    "qwen3-reranker": (save_qwen2, qwen3_reranker, (None, "", "Find code\nfor this:")),
    "mxbai-rerank-v2": (save_qwen2, mxbai_rerank_v2, (None, "", "Find code\nfor this:")),
    "bge-reranker-v2-gemma": (save_gemma, bge_reranker_v2_gemma, (None,)),
    "monot5": (save_t5, mono_t5, (None,)),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Callable[[Path], Path], Path]:
    """A saved tokenizer by each of the functions that save one."""
    return {save: save(tmp_path_factory.mktemp("tokenizer")) for save, _, _ in ORACLES.values()}


def load_stock(folder: Path) -> StockTokenizer:
    config, settings = (
        json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer_config.json")
    )
    return load_stock_tokenizer(folder, config, settings)


def prompt(
    tokenizer: PromptTokenizer, query: str, document: str, instruction: str | None = None
) -> list[int]:
    return tokenizer.encode_pairs([query], [document], instruction)[0].token_ids.tolist()


@pytest.mark.parametrize("name", ORACLES)
def test_prompt_equals_the_documented_form(
    folders: dict[Callable[[Path], Path], Path], name: str
) -> None:
    save, oracle, instructions = ORACLES[name]
    stock = transformers.AutoTokenizer.from_pretrained(str(folders[save]))
    loaded = load_stock(folders[save])
    rng = random.Random(name)
    odd = [*SEAM_TEXTS, *ODD_TEXTS]
    pairs = [("a query", document) for document in odd]
    pairs += [(query, "a document, of some length") for query in odd]
    words = [random_text(rng, 12) for _ in range(20)]
    pairs += zip(rng.choices(words, k=20), rng.choices([*words, *odd], k=20), strict=True)
    for instruction in instructions:
        own = loaded.prompt_tokenizer(TEMPLATES[name], longest_supported=LONGEST, cache_bytes=10**6)
        queries, documents = zip(*pairs, strict=True)
        encoded = own.encode_pairs(queries, documents, instruction)
        for (query, document), pair in zip(pairs, encoded, strict=True):
            expected = oracle(stock, query, document, LONGEST, instruction)
            assert pair.token_ids.tolist() == expected, (query, document)
            assert not pair.token_type_ids.any()
        first, second = own.encode_pairs(["a query"] * 2, ["one", "two of them"], instruction)
        head = first.token_ids[: first.num_head_tokens].tolist()
        assert head == second.token_ids[: second.num_head_tokens].tolist() != []


@pytest.mark.parametrize("name", ORACLES)
def test_cut_prompt_equals_the_documented_form(
    folders: dict[Callable[[Path], Path], Path], name: str
) -> None:
    save, oracle, instructions = ORACLES[name]
    stock = transformers.AutoTokenizer.from_pretrained(str(folders[save]))
    loaded = load_stock(folders[save])
    rng = random.Random(name)
    least = 2 * len(oracle(stock, "", "", LONGEST, instructions[-1]))
    for max_length in [*range(least + 60, least + 100, 3), least + 200]:
        own = loaded.prompt_tokenizer(
            TEMPLATES[name], longest_supported=LONGEST, max_length=max_length
        )
        for num_words in (0, 1, 5, 20, 60, 600):
            query, document = random_text(rng, rng.randint(1, 4)), random_text(rng, num_words)
            expected = oracle(stock, query, document, max_length, instructions[-1])
            assert prompt(own, query, document, instructions[-1]) == expected
            assert len(expected) <= max_length


@pytest.mark.parametrize("name", ["mxbai-rerank-v2", "bge-reranker-v2-gemma"])
def test_long_query_is_cut_to_its_share_as_documented_unless_refused(
    folders: dict[Callable[[Path], Path], Path], name: str
) -> None:
    save, oracle, _ = ORACLES[name]
    stock = transformers.AutoTokenizer.from_pretrained(str(folders[save]))
    max_length = len(oracle(stock, "", "", LONGEST, None)) + 100
    query, document = random_text(random.Random(0), 200), random_text(random.Random(1), 200)

    def own(truncation: Truncation) -> PromptTokenizer:
        return load_stock(folders[save]).prompt_tokenizer(
            TEMPLATES[name],
            longest_supported=LONGEST,
            max_length=max_length,
            truncation=truncation,
        )

    expected = oracle(stock, query, document, max_length, None)
    assert prompt(own("longest_first"), query, document) == expected
    with pytest.raises(InvalidArgumentError, match="leaves nothing of its document"):
        prompt(own("only_second"), query, document)


def test_first_cut_of_a_document_and_of_a_query_is_said(
    folders: dict[Callable[[Path], Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="zen_fast")
    template = TEMPLATES["bge-reranker-v2-gemma"]
    own = load_stock(folders[save_gemma]).prompt_tokenizer(
        template, longest_supported=LONGEST, max_length=300
    )
    own.encode_pairs(["short"], ["short"])
    assert not caplog.records
    for _ in range(2):
        own.encode_pairs(["short", "short"], ["short", "word " * 400])
        own.encode_pairs(["word " * 400] * 3, ["short"] * 3)
    messages = [record.getMessage() for record in caplog.records]
    limit = "were cut off to fit into max_length=300 tokens"
    assert [message.partition(limit)[0] for message in messages] == [
        "1 of 2 documents ",
        "1 of 1 queries ",
    ]


def test_default_limit_is_the_documented_one(
    folders: dict[Callable[[Path], Path], Path],
) -> None:
    long_text = random_text(random.Random(0), 6000)
    for name, authors_limit, num_uncounted in (
        ("qwen3-reranker", 8192, 0),
        ("mxbai-rerank-v2", 8192, 1),
        ("bge-reranker-v2-gemma", 512, 2),
        ("monot5", 512, 0),
    ):
        save, oracle, _ = ORACLES[name]
        stock = transformers.AutoTokenizer.from_pretrained(str(folders[save]))
        parts = TEMPLATES[name].parts
        index = next(i for i, part in enumerate(parts) if "{document}" in part)
        frame = [part for part in (parts[0], *parts[index + 1 :]) if "{" not in part]
        expected = authors_limit + num_uncounted * sum(len(ids(stock, part)) for part in frame)
        own = load_stock(folders[save]).prompt_tokenizer(TEMPLATES[name], longest_supported=100_000)
        assert own.max_length == expected
        assert prompt(own, "a query", long_text) == oracle(
            stock, "a query", long_text, expected, None
        )
        bounded = load_stock(folders[save]).prompt_tokenizer(TEMPLATES[name], longest_supported=400)
        assert bounded.max_length == 400
        assert len(prompt(bounded, "a query", long_text)) <= 400


@pytest.mark.parametrize("name", ORACLES)
def test_documents_are_remembered_across_queries_and_threads(
    folders: dict[Callable[[Path], Path], Path], name: str
) -> None:
    rng = random.Random(0)
    documents = [random_text(rng, 10) for _ in range(40)]
    queries = [f"query {index % 7}" for index in range(40)]
    loaded = load_stock(folders[ORACLES[name][0]])
    fresh = loaded.prompt_tokenizer(TEMPLATES[name], longest_supported=LONGEST)
    own = loaded.prompt_tokenizer(TEMPLATES[name], longest_supported=LONGEST, cache_bytes=10**6)
    own.encode_pairs(["a query"] * 40, documents)
    num_misses = own.cache_statistics().misses
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: own.encode_pairs(queries, documents), range(8)))
    assert own.cache_statistics().misses - num_misses <= 7 * 8
    expected = [pair.token_ids.tolist() for pair in fresh.encode_pairs(queries, documents)]
    for pairs in batches:
        assert [pair.token_ids.tolist() for pair in pairs] == expected


@pytest.mark.parametrize(
    ("save", "added"),
    [
        (save_gemma, []),
        (save_qwen2, [AddedToken(": ", normalized=False)]),
        (save_qwen2, [AddedToken(">:", rstrip=True, normalized=False)]),
        (save_qwen2, [AddedToken("(a", lstrip=True, normalized=False)]),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_body_is_one_text_also_where_its_seam_is_not_safe(
    tmp_path: Path, save: Callable[[Path], Path], added: list[AddedToken]
) -> None:
    stock = transformers.AutoTokenizer.from_pretrained(str(save(tmp_path)))
    stock.add_tokens(added)
    stock.save_pretrained(str(tmp_path))
    own = load_stock(tmp_path).prompt_tokenizer(
        TEMPLATES["qwen3-reranker"], longest_supported=LONGEST, cache_bytes=10**6
    )
    for document in SEAM_TEXTS:
        expected = qwen3_reranker(stock, "a query", document, LONGEST, None)
        assert prompt(own, "a query", document) == expected, document


def test_users_text_is_tokenized_as_one_text_and_keeps_its_end(
    folders: dict[Callable[[Path], Path], Path],
) -> None:
    text = "<|im_start|>user\n{instruction}: {query}\nIs it {document}\nAnswer:<|im_end|>\n{query}?"
    folder = folders[save_qwen2]
    stock = transformers.AutoTokenizer.from_pretrained(str(folder))
    template = PromptTemplate.from_text(text)
    own = load_stock(folder).prompt_tokenizer(template, longest_supported=LONGEST)
    for document in SEAM_TEXTS:
        filled = (
            text.replace("{document}", "\0")
            .replace("{query}", "cafés")
            .replace("{instruction}", "Say")
        )
        expected = ids(stock, filled.replace("\0", document))
        assert prompt(own, "cafés", document, "Say") == expected, document
    short = load_stock(folder).prompt_tokenizer(template, longest_supported=LONGEST, max_length=60)
    cut = prompt(short, "cafés", random_text(random.Random(0), 100), "Say")
    end = ids(stock, "\nAnswer:<|im_end|>\ncafés?")
    assert len(cut) == 60
    assert cut[-len(end) :] == end
    with pytest.raises(InvalidArgumentError, match="needs an instruction"):
        prompt(own, "cafés", "a document")


def test_instruction_that_has_no_place_is_an_error(
    folders: dict[Callable[[Path], Path], Path],
) -> None:
    for name in ("bge-reranker-v2-gemma", "monot5"):
        own = load_stock(folders[ORACLES[name][0]]).prompt_tokenizer(
            TEMPLATES[name], longest_supported=LONGEST
        )
        with pytest.raises(InvalidArgumentError, match="no place for one"):
            own.encode_pairs(["a query"], ["a document"], "an instruction")


def test_query_that_leaves_no_room_and_limits_that_do_not_are_errors(
    folders: dict[Callable[[Path], Path], Path],
) -> None:
    loaded = load_stock(folders[save_qwen2])
    template = TEMPLATES["qwen3-reranker"]
    own = loaded.prompt_tokenizer(template, longest_supported=LONGEST, max_length=400)
    with pytest.raises(InvalidArgumentError, match="leaves nothing of its document"):
        prompt(own, "long " * 400, "a document")
    with pytest.raises(InvalidArgumentError, match="leaves no room for query and document"):
        loaded.prompt_tokenizer(template, longest_supported=LONGEST, max_length=20)
    with pytest.raises(InvalidArgumentError, match="beyond this model"):
        loaded.prompt_tokenizer(template, longest_supported=64, max_length=65)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parts": ("{query}",)}, "must have"),
        ({"parts": ("{query} {document} {document}",)}, "exactly once"),
        ({"parts": ("{document}",)}, "must have"),
        ({"parts": ("{query}", "", "{document}")}, "no part may be empty"),
        ({"parts": ("{query}{document}",), "instruction_format": "x"}, "instruction_format"),
        ({"parts": ("{query}{document}",), "negative": "no"}, "positive"),
        ({"parts": ("{query}{document}",), "activation": "softplus"}, "activation"),
        ({"parts": ("{query}{document}",), "query_share": 0.75}, "parts of their own"),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_template_that_is_none_is_an_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        PromptTemplate(**fields)


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_survives_json(name: str) -> None:
    template = TEMPLATES[name]
    assert PromptTemplate.from_json(json.loads(json.dumps(template.to_json()))) == template
