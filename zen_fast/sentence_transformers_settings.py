"""What a checkpoint's sentence-transformers files say beside config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def read_settings(folder: Path) -> SentenceTransformersSettings:
    """Read modules.json and what belongs to it; only a CrossEncoder's settings apply.

    Raises:
        CheckpointError: one of the files is no JSON.
        UnsupportedModelError: the CrossEncoder has modules beyond the transformer, or a setting
            that changes its scores in a way that is not supported.
    """
    if not (folder / "modules.json").is_file():
        return SentenceTransformersSettings()
    model = _read_json(folder / "config_sentence_transformers.json", {})
    if model.get("model_type") != "CrossEncoder":
        return SentenceTransformersSettings()
    modules = _read_json(folder / "modules.json", [])
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds != ["Transformer"]:
        raise UnsupportedModelError(
            f"{folder} is a CrossEncoder of the modules {', '.join(kinds)}; only a single "
            "Transformer with a classification head is supported"
        )
    transformer = _read_json(folder / modules[0]["path"] / "sentence_bert_config.json", {})
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
        default_prompt=prompts.get(model.get("default_prompt_name")) or "",
        max_length=transformer.get("max_seq_length"),
    )


def _read_json(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
