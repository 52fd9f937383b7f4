"""The teacher: the base model as the bi-encoder it was trained to be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import BertModel

from zen_fast.train.list_table import read_columns, write_columns
from zen_fast.train.vocabulary import load_tokenizer

Scores = NDArray[np.float32]
Advance = Callable[[int], object]
"""Called with the number of texts done."""

_MAX_LENGTH = 128
_BATCH = 512
_TEXTS_AT_ONCE = 2048


class Teacher(Protocol):
    """Mean-pooled, normalised sentence embeddings (Reimers and Gurevych, EMNLP 2019)."""

    def embed(self, texts: Sequence[str], advance: Advance = ...) -> Scores:
        """(num_texts, hidden) fp32, unit length."""


def make_teacher(base: Path, device: str, precision: str) -> Teacher:
    """The packed engine on a CPU, at "fp32" or "int8"; the stock model on a GPU."""
    return StockTeacher(base, device) if device == "cuda" else PackedTeacher(base, precision)


class PackedTeacher:
    """On the project's own engine."""

    def __init__(self, base: Path, precision: str) -> None:
        from zen_fast.embedder import ZenEmbedder  # an engine that a prepared folder does without

        self._embedder = ZenEmbedder.from_pretrained(
            base, device="cpu", precision=precision, max_length=_MAX_LENGTH, normalize=True
        )

    def embed(self, texts: Sequence[str], advance: Advance = lambda _: None) -> Scores:
        vectors = np.empty((len(texts), self._embedder.dimensions), np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            some = list(texts[start : start + _TEXTS_AT_ONCE])
            places = slice(start, start + len(some))
            vectors[places] = self._embedder.encode(some, show_progress=False)
            advance(len(some))
        return vectors


class StockTeacher:
    """The stock model, in fp16 where it is on a GPU."""

    def __init__(self, base: Path, device: str = "cpu") -> None:
        self._tokenizer = load_tokenizer(base / "tokenizer.json")
        self._tokenizer.enable_truncation(_MAX_LENGTH)
        dtype = torch.float16 if device == "cuda" else torch.float32
        model: Any = BertModel.from_pretrained(str(base), dtype=dtype)
        self._model = model.to(device)
        self._model.requires_grad_(False)
        self._model.train(False)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], advance: Advance = lambda _: None) -> Scores:
        encodings = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        embeddings = torch.empty(len(texts), self._model.config.hidden_size)
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            ids = [torch.tensor(encodings[index].ids) for index in indices]
            input_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            lengths = torch.tensor([len(each) for each in ids])
            mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).to(self._model.device)
            hidden = self._model(
                input_ids=input_ids.to(self._model.device), attention_mask=mask
            ).last_hidden_state.float()
            pooled = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            embeddings[indices] = functional.normalize(pooled, dim=-1).cpu()
            advance(len(indices))
        vectors: Scores = embeddings.numpy()
        return vectors


class RememberingTeacher:
    """Asks a teacher about every text once; what it said is kept in a file, in fp16.

    On a CPU the teacher takes most of the time of preparing, and this makes it resumable.

    Args:
        make: makes the teacher, when the first unknown text comes.
    """

    def __init__(self, make: Callable[[], Teacher], path: Path) -> None:
        self._make = make
        self._path = path
        self._teacher: Teacher | None = None
        self._known: dict[bytes, NDArray[np.float16]] = {}
        if path.is_file():
            columns = read_columns(path, ("digests", "vectors"))
            vectors = columns["vectors"].astype(np.float16)
            self._known = {
                digest.tobytes(): vector
                for digest, vector in zip(columns["digests"], vectors, strict=True)
            }

    def embed(self, texts: Sequence[str], advance: Advance = lambda _: None) -> Scores:
        digests = [_digest(text) for text in texts]
        unknown = {
            digest: text
            for digest, text in zip(digests, texts, strict=True)
            if digest not in self._known
        }
        advance(len(texts) - len(unknown))
        if unknown:
            self._ask(unknown, advance)
        return np.stack([self._known[digest] for digest in digests]).astype(np.float32)

    def _ask(self, unknown: dict[bytes, str], advance: Advance) -> None:
        self._teacher = self._teacher or self._make()
        vectors = self._teacher.embed(list(unknown.values()), advance).astype(np.float16)
        self._known.update(zip(unknown, vectors, strict=True))
        digests = np.frombuffer(b"".join(self._known), np.uint8).reshape(len(self._known), -1)
        vectors = np.stack(list(self._known.values()))
        write_columns(self._path, {"digests": digests, "vectors": vectors})


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
