"""Which prompt a checkpoint was trained with, and which tokens it answers with: never a guess."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zen_fast.checkpoint.json_file import read_json
from zen_fast.errors import (
    CheckpointError,
    InvalidArgumentError,
    InvalidTypeError,
    UnsupportedModelError,
)
from zen_fast.prompts.answer import AnswerTokens, answer_tokens
from zen_fast.prompts.chat_template import chat_prompt_template, read_chat_template
from zen_fast.prompts.known import TEMPLATES, known_template
from zen_fast.prompts.template import PromptTemplate
from zen_fast.sentence_transformers_settings import SentenceTransformersSettings
from zen_fast.tokenization.stock_tokenizer import StockTokenizer

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

TEMPLATE_FILE = "prompt_template.json"
"""A checkpoint's own statement of its template: the fields of a PromptTemplate."""

_GENERATIVE = ("ForCausalLM", "ForConditionalGeneration")


@dataclass(frozen=True)
class Prompt:
    """What a language model reads, and where its score is."""

    template: PromptTemplate
    answer: AnswerTokens | None
    """None where the model has a classification head."""


def is_generative(config: Json) -> bool:
    """Whether a config.json is that of a language model, which answers with a token."""
    return any(str(name).endswith(_GENERATIVE) for name in config.get("architectures") or ())


def load_prompt(
    folder: Path,
    config: Json,
    tokenizer_config: Json,
    stock: StockTokenizer,
    settings: SentenceTransformersSettings,
    *,
    model: str,
    template: str | PromptTemplate | None = None,
) -> Prompt | None:
    """The prompt of the checkpoint in `folder`; None for a classifier that reads a bare pair.

    The first of these that says something is taken: `template`; prompt_template.json; the chat
    template of a CrossEncoder that sentence-transformers saved; the name of a published model. The
    answer tokens are the template's where it was passed or stated, else those of the CrossEncoder,
    else those of the published model.

    Args:
        config: content of config.json.
        tokenizer_config: content of tokenizer_config.json.
        stock: the checkpoint's tokenizer.
        settings: the checkpoint's sentence-transformers settings.
        model: what the user calls the checkpoint.
        template: a template, its name in `TEMPLATES`, or a text with {query} and {document}.

    Raises:
        UnsupportedModelError: a language model's template or answer tokens are nowhere to be found.
        CheckpointError: the checkpoint's files contradict its tokenizer, or are malformed.
        InvalidArgumentError, InvalidTypeError: `template` is none.
    """
    published = _published(folder, config, model)
    chosen = (
        _given(template) or _stated(folder) or _carried(folder, tokenizer_config, stock, settings)
    )
    if not is_generative(config):
        return None if chosen is None else Prompt(chosen, None)
    if chosen is None and published is not None:
        logger.info("%s gets the prompt of the published model of that name", model)
        chosen = published
    if chosen is None:
        raise UnsupportedModelError(
            f"{model} is a language model, and nothing says what prompt it was trained with: it is "
            f"no published reranker by name, and has neither a {TEMPLATE_FILE} nor a chat template "
            f"saved by sentence-transformers' CrossEncoder. Pass template=, one of "
            f"{', '.join(map(repr, TEMPLATES))}, or a PromptTemplate"
        )
    if chosen.positive is None or chosen is published:
        chosen = _with_answer(chosen, settings, published)
    answer = answer_tokens(chosen, stock.tokenizer)
    if answer is None:
        raise UnsupportedModelError(
            f"{model} is a language model, and nothing says which token it answers with; pass "
            "template=PromptTemplate(..., positive=..., negative=...) with the tokens for relevant "
            "and not relevant"
        )
    return Prompt(chosen, answer)


def _given(template: str | PromptTemplate | None) -> PromptTemplate | None:
    if template is None or isinstance(template, PromptTemplate):
        return template
    if not isinstance(template, str):
        raise InvalidTypeError(
            f"template is a {type(template).__name__}; pass a PromptTemplate, a name, or a text"
        )
    if template in TEMPLATES:
        return TEMPLATES[template]
    if "{document}" not in template:
        raise InvalidArgumentError(
            f"template={template!r} is neither one of {', '.join(map(repr, TEMPLATES))} nor a text "
            "with {query} and {document}"
        )
    return PromptTemplate.from_text(template)


def _stated(folder: Path) -> PromptTemplate | None:
    path = folder / TEMPLATE_FILE
    if not path.is_file():
        return None
    try:
        return PromptTemplate.from_json(read_json(path))
    except (InvalidArgumentError, InvalidTypeError) as error:
        raise CheckpointError(f"{path} is no template: {error}") from error


def _carried(
    folder: Path,
    tokenizer_config: Json,
    stock: StockTokenizer,
    settings: SentenceTransformersSettings,
) -> PromptTemplate | None:
    if settings.chat_template_arguments is None:
        return None
    source = read_chat_template(folder, tokenizer_config)
    if source is None:
        return None
    variables = {**stock.special_tokens, **settings.chat_template_arguments}
    return chat_prompt_template(source, variables, settings.has_structured_messages)


def _published(folder: Path, config: Json, model: str) -> PromptTemplate | None:
    """The template of the published model that the checkpoint goes by the name of."""
    quantization = config.get("quantization_config")
    source = quantization.get("source") if isinstance(quantization, Mapping) else None
    for name in (model, str(folder.absolute()), config.get("_name_or_path"), source):
        if not isinstance(name, str):
            continue
        # A download lies in models--owner--name/snapshots/revision.
        path = Path(name)
        own_name = path.parent.parent.name if path.parent.name == "snapshots" else path.name
        template = known_template(own_name, str(config.get("model_type")))
        if template is not None:
            return template
    return None


def _with_answer(
    template: PromptTemplate,
    settings: SentenceTransformersSettings,
    published: PromptTemplate | None,
) -> PromptTemplate:
    """`template` with the answer that the checkpoint's other files, or its name, stand for."""
    if settings.answer_ids is not None:
        positive, negative = settings.answer_ids
        return replace(template, positive=positive, negative=negative)
    if published is not None:
        return replace(
            template,
            positive=published.positive,
            negative=published.negative,
            activation=published.activation,
        )
    return template
