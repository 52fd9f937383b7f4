"""What a checkpoint's sentence-transformers files say beside config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zen_fast.checkpoint.json_file import read_json, read_json_list
from zen_fast.errors import CheckpointError, UnsupportedModelError


@dataclass(frozen=True)
class SentenceTransformersSettings:
    """Settings of a CrossEncoder that sentence-transformers saved; the defaults say nothing."""

    activation_path: str | None = None
    """Path of the activation's class, such as "torch.nn.modules.linear.Identity"."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Name → text put before a query."""
    default_prompt: str = ""
    """The one put before every query, unless a call names another."""
    max_length: int | None = None
    answer_ids: tuple[int, int | None] | None = None
    """Of a language model: the token whose logit is the score, and the one that is subtracted."""
    chat_template_arguments: Mapping[str, Any] | None = None
    """What the chat template is given beside the messages; None where a pair is no chat."""
    has_structured_messages: bool = False
    """A message's content is a list of parts, not a text."""

    def pair_length(self, longest_supported: int) -> int | None:
        """Longest pair in tokens for a model of that many positions; None where nothing is said."""
        return None if self.max_length is None else min(self.max_length, longest_supported)


def read_settings(folder: Path) -> SentenceTransformersSettings:
    """Read modules.json and what belongs to it; only a CrossEncoder's settings apply.

    Raises:
        CheckpointError: one of the files is malformed, or names a default prompt that is not there.
        UnsupportedModelError: the CrossEncoder has modules beyond the transformer, or a setting
            that changes its scores in a way that is not supported.
    """
    if not (folder / "modules.json").is_file():
        return SentenceTransformersSettings()
    model = read_json(folder / "config_sentence_transformers.json", {})
    if model.get("model_type") != "CrossEncoder":
        return SentenceTransformersSettings()
    modules = read_json_list(folder / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer"], ["Transformer", "LogitScore"]):
        raise UnsupportedModelError(
            f"{folder} is a CrossEncoder of the modules {', '.join(kinds)}; only a Transformer "
            "with a classification head, or one with a LogitScore, is supported"
        )
    transformer = read_json(folder / modules[0].get("path", "") / "sentence_bert_config.json", {})
    messages = (transformer.get("modality_config") or {}).get("message")
    processing = dict(transformer.get("processing_kwargs") or {})
    arguments = processing.pop("chat_template", {}) if messages is not None else None
    for name, value in (
        ("do_lower_case", transformer.get("do_lower_case")),
        ("processing_kwargs", processing),
    ):
        if value:
            raise UnsupportedModelError(
                f"sentence_bert_config.json of {folder} has {name}={value!r}, which is not "
                "supported"
            )
    prompts = model.get("prompts") or {}
    return SentenceTransformersSettings(
        activation_path=model.get("activation_fn"),
        prompts=prompts,
        default_prompt=_default_prompt(folder, prompts, model.get("default_prompt_name")),
        max_length=transformer.get("max_seq_length"),
        answer_ids=_answer_ids(folder / modules[1].get("path", "")) if modules[1:] else None,
        chat_template_arguments=arguments,
        has_structured_messages=(messages or {}).get("format") == "structured",
    )


def _answer_ids(module: Path) -> tuple[int, int | None]:
    """Token ids that a LogitScore module reads."""
    saved = read_json(module / "config.json")
    positive, negative = saved.get("true_token_id"), saved.get("false_token_id")
    if not isinstance(positive, int) or not isinstance(negative, int | None):
        raise CheckpointError(
            f"{module / 'config.json'} must have a token id as true_token_id, and one or null as "
            "false_token_id"
        )
    return positive, negative


def _default_prompt(folder: Path, prompts: Mapping[str, str], name: Any) -> str:
    if name is None:
        return ""
    if name not in prompts:
        raise CheckpointError(
            f"config_sentence_transformers.json of {folder} has default_prompt_name={name!r}; its "
            f"prompts are {', '.join(map(repr, prompts)) or 'none'}: name one of them, or null"
        )
    return prompts[name]
