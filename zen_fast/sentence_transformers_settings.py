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
    if kinds != ["Transformer"]:
        raise UnsupportedModelError(
            f"{folder} is a CrossEncoder of the modules {', '.join(kinds)}; only a single "
            "Transformer with a classification head is supported"
        )
    transformer = read_json(folder / modules[0].get("path", "") / "sentence_bert_config.json", {})
    for name in ("do_lower_case", "processing_kwargs"):
        if transformer.get(name):
            raise UnsupportedModelError(
                f"sentence_bert_config.json of {folder} has {name}={transformer[name]!r}, which is "
                "not supported"
            )
    prompts = model.get("prompts") or {}
    return SentenceTransformersSettings(
        activation_path=model.get("activation_fn"),
        prompts=prompts,
        default_prompt=_default_prompt(folder, prompts, model.get("default_prompt_name")),
        max_length=transformer.get("max_seq_length"),
    )


def _default_prompt(folder: Path, prompts: Mapping[str, str], name: Any) -> str:
    if name is None:
        return ""
    if name not in prompts:
        raise CheckpointError(
            f"config_sentence_transformers.json of {folder} has default_prompt_name={name!r}; its "
            f"prompts are {', '.join(map(repr, prompts)) or 'none'}: name one of them, or null"
        )
    return prompts[name]
