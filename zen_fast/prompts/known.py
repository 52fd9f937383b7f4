"""The prompt templates of published rerankers, and the names by which their models are known.

Each is the form that the model's authors document: Qwen3-Reranker's model card (not its vLLM
example, which differs in line breaks), mixedbread's mxbai_rerank, FlagEmbedding's decoder-only
reranker, and pygaggle's monoT5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from zen_fast.prompts.template import PromptTemplate

QWEN3_RERANKER = PromptTemplate(
    parts=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n",
        "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}",
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    positive="yes",
    negative="no",
    default_instruction=(
        "Given a web search query, retrieve relevant passages that answer the query"
    ),
    max_length=8192,
)

MXBAI_RERANK_V2 = PromptTemplate(
    parts=(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\n",
        "{instruction}query: {query}",
        "\n",
        "document: {document}",
        "\n",
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
    positive="1",
    negative="0",
    default_instruction="",
    instruction_format="instruction: {instruction}\n",
    activation="identity",
    max_length=8192,
    uncounted_frames=1,
    query_share=0.75,
)

BGE_RERANKER_V2_GEMMA = PromptTemplate(
    parts=(
        "A: {query}",
        "\n",
        "B: {document}",
        "\n",
        "Given a query A and a passage B, determine whether the passage contains an answer to the "
        "query by providing a prediction of either 'Yes' or 'No'.",
    ),
    positive="Yes",
    begins_with_bos=True,
    activation="identity",
    max_length=512,
    # FlagEmbedding makes room for the last two parts, and appends them after it has truncated.
    uncounted_frames=2,
    query_share=0.75,
)

MONO_T5 = PromptTemplate(
    parts=("Query: {query} Document: {document} Relevant:",),
    positive="▁true",
    negative="▁false",
    ends_with_eos=True,
    activation="logsigmoid",
    max_length=512,
)

TEMPLATES: Mapping[str, PromptTemplate] = {
    "qwen3-reranker": QWEN3_RERANKER,
    "mxbai-rerank-v2": MXBAI_RERANK_V2,
    "bge-reranker-v2-gemma": BGE_RERANKER_V2_GEMMA,
    "monot5": MONO_T5,
}
"""Templates by the name that `from_pretrained(template=...)` accepts."""


@dataclass(frozen=True)
class KnownModel:
    """Published models that one template belongs to."""

    name_pattern: str
    """Matches somewhere in a model's name, case ignored, between separators."""
    model_type: str
    template: PromptTemplate


KNOWN_MODELS = (
    KnownModel(r"qwen3-reranker", "qwen3", QWEN3_RERANKER),
    KnownModel(r"mxbai-rerank-(base|large)-v2", "qwen2", MXBAI_RERANK_V2),
    KnownModel(r"bge-reranker-v2-gemma", "gemma", BGE_RERANKER_V2_GEMMA),
    KnownModel(r"monot5", "t5", MONO_T5),
    KnownModel(
        r"ptt5-base-(en-)?pt-msmarco", "t5", replace(MONO_T5, positive="▁sim", negative="▁não")
    ),
    KnownModel(
        r"mt5-base-(en-msmarco|en-pt-msmarco|mmarco)",
        "mt5",
        replace(MONO_T5, positive="▁yes", negative="▁no"),
    ),
    KnownModel(r"mt5-3b-mmarco-en-pt", "mt5", replace(MONO_T5, negative="▁")),
    KnownModel(r"mt5-13b-mmarco", "mt5", MONO_T5),
)


def known_template(name: str, model_type: str) -> PromptTemplate | None:
    """The template of the published model that `name` speaks of; None for any other."""
    for known in KNOWN_MODELS:
        pattern = rf"(?<![a-z0-9]){known.name_pattern}(?![a-z0-9])"
        if known.model_type == model_type and re.search(pattern, name, re.IGNORECASE):
            return known.template
    return None
