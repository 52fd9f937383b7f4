"""Conversion of a model folder: in a process of its own, into a folder that goes with its owner."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_fast.errors import UnsupportedModelError

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

BERT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""In the order in which `bert_logits` takes them."""


def converted(owner: object, convert: Callable[..., None], model_folder: str, *rest: Any) -> Path:
    """Call `convert(model_folder, target, *rest)`; the new folder `target`, owner's to the end.

    It runs in another process, so that PyTorch's and the converter's memory are not counted as the
    engine's.
    """
    target = Path(tempfile.mkdtemp(prefix="zen-fast-engine-"))
    weakref.finalize(owner, shutil.rmtree, target)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        process.submit(convert, model_folder, target, *rest).result()
    return target


def load_bert(model_folder: str, attention: str) -> BertForSequenceClassification:
    """The stock model in fp32, ready for inference.

    Raises:
        UnsupportedModelError: it is no BERT, for which alone the conversions are made.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    model: BertForSequenceClassification = AutoModelForSequenceClassification.from_pretrained(
        model_folder, dtype=torch.float32, attn_implementation=attention
    )
    if model.config.model_type != "bert":
        raise UnsupportedModelError(
            f"{model_folder} is of type {model.config.model_type!r}; the adapters in "
            "benchmarks/engines take 'bert'"
        )
    model.eval()
    return model


def bert_logits(model: BertForSequenceClassification) -> Any:
    """A torch module from BERT_INPUTS, each (num_pairs, longest) int64, to (num_pairs,) logits."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            token_type_ids: torch.Tensor,
        ) -> torch.Tensor:
            logits: torch.Tensor = self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).logits
            return logits[:, 0]

    return Logits()


def example_inputs() -> dict[str, Any]:
    """A batch to trace with: BERT_INPUTS → tensors; neither size is 1, which tracers single out."""
    import torch

    ids = torch.ones(2, 7, dtype=torch.int64)
    return dict(zip(BERT_INPUTS, (ids, torch.ones_like(ids), torch.zeros_like(ids)), strict=True))


def has_vnni() -> bool:
    """Whether 8-bit products are summed in 32 bits by one instruction.

    Without it the usual way (`vpmaddubsw`) adds two of them in 16 bits, where they can saturate
    unless the weights keep to 7 bits. Where the system does not say, none is assumed.
    """
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    return not flags.isdisjoint({"avx512_vnni", "avx_vnni"})
