"""Writing the model: an ordinary Hugging Face folder in fp16."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

_MAX_LENGTH = 512


def export_model(
    student: BertForSequenceClassification, tokenizer: Tokenizer, folder: Path
) -> None:
    """Write config.json, model.safetensors (fp16), tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = student.config.to_diff_dict()
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "dtype": "float16",
    }
    config.pop("_name_or_path", None)
    _write_json(folder / "config.json", config)
    tensors = {
        name: tensor.detach().cpu().to(torch.float16).contiguous()
        for name, tensor in student.state_dict().items()
        if not name.endswith("position_ids")
    }
    weights = folder / "model.safetensors"
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors leaves it readable by its owner alone
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    normalizer = json.loads(tokenizer.to_str())["normalizer"]
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
            "model_max_length": min(_MAX_LENGTH, student.config.max_position_embeddings),
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "mask_token": "[MASK]",
        },
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
