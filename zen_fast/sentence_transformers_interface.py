"""`predict` and `rank` as sentence-transformers' CrossEncoder 6 has them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_fast.activation import ScoreActivation, Scores, activation_from, softmax
from zen_fast.arguments import positive_count, whole_number
from zen_fast.documents import as_list, document_text, optional_text, query_text
from zen_fast.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    UnsupportedDeviceError,
)
from zen_fast.ranking import ranking

if TYPE_CHECKING:
    from zen_fast.encoded import PairScores
    from zen_fast.engine import Engine
    from zen_fast.engine_group import EngineGroup
    from zen_fast.scoring import Scorer

_LIST_TYPES = (list, tuple, np.ndarray)


class SentenceTransformersInterface:
    """The methods that let a ZenReranker stand where a CrossEncoder stood.

    Names, defaults and results are CrossEncoder's. `batch_size` and `chunk_size` are accepted and
    change nothing: batches are cut by tokens, and a score does not depend on its batch. Names of
    older releases are accepted with a DeprecationWarning.
    """

    _engine: Engine | EngineGroup
    _scorer: Scorer
    _activation: ScoreActivation
    _prompts: Mapping[str, str]
    _default_prompt: str
    _devices: frozenset[str]

    def predict(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: object = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        pool: object = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        activation_fct: object = None,
        num_workers: int | None = None,
    ) -> Any:
        """Scores of (query, document) pairs, in input order.

        Args:
            inputs: list of pairs, or one pair; a document may be a mapping with `text`.
            prompt_name: name of one of the checkpoint's prompts.
            prompt: text put before every query, whatever `prompt_name` says; for a model that takes
                an instruction, the instruction.
            activation_fn: see `activation_from`; None for the model's own.
            apply_softmax: softmax over each row, for models with several labels.
            convert_to_numpy: False gives a list of torch tensors, one for each pair.
            convert_to_tensor: one torch tensor, whatever `convert_to_numpy` says.

        Returns:
            (num_pairs,) fp32, or (num_pairs, num_labels) for models with several labels; without
            the first dimension for one pair.

        Raises:
            InvalidArgumentError: an argument has a value that is not accepted.
            InvalidTypeError: something in `inputs` is not a pair of texts.
            MissingDependencyError: tensors are asked for and torch is not installed.
        """
        inputs = _renamed("predict", "sentences", sentences, "inputs", inputs)
        activation_fn = _renamed(
            "predict", "activation_fct", activation_fct, "activation_fn", activation_fn
        )
        _warn_if_dropped("predict", num_workers=num_workers)
        self._check_call(batch_size, device, pool)
        torch = _torch() if convert_to_tensor or not convert_to_numpy else None
        prompt = self._resolved_prompt(prompt, prompt_name)
        queries, documents, is_single = _split_pairs(inputs)
        _, scores = self._activated(queries, documents, activation_fn, show_progress_bar, prompt)
        if apply_softmax and scores.ndim > 1:
            scores = softmax(scores)
        if torch is None:
            return scores[0] if is_single else scores
        tensor = torch.from_numpy(scores)
        if is_single:
            return tensor[0]
        return tensor if convert_to_tensor else list(tensor)

    def rank(
        self,
        query: str,
        documents: Any,
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: object = None,
        device: str | None = None,
        pool: object = None,
        chunk_size: int | None = None,
        *,
        activation_fct: object = None,
        num_workers: int | None = None,
        apply_softmax: bool | None = None,
        convert_to_numpy: bool | None = None,
        convert_to_tensor: bool | None = None,
    ) -> list[dict[str, Any]]:
        """The documents from best to worst: dicts of `corpus_id`, `score` and, if asked, `text`.

        Ties of the activation are resolved by the logits; see `rerank`.

        Raises:
            InvalidArgumentError: the model has several labels, or a value is not accepted.
            InvalidTypeError: the query is no text, or one of the documents is none.
        """
        activation_fn = _renamed(
            "rank", "activation_fct", activation_fct, "activation_fn", activation_fn
        )
        _warn_if_dropped(
            "rank",
            num_workers=num_workers,
            apply_softmax=apply_softmax,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
        )
        self._check_call(batch_size, device, pool)
        if top_k is not None:
            top_k = whole_number("top_k", top_k, least=0)
        if self._engine.spec.head.num_labels != 1:
            raise InvalidArgumentError(
                f"rank needs a model with one label; this one has "
                f"{self._engine.spec.head.num_labels}: use predict, and choose a label"
            )
        query = query_text(query)
        items = as_list(documents, "documents", "documents")
        texts = [document_text(item, f"documents[{index}]") for index, item in enumerate(items)]
        logits, scores = self._activated(
            [query] * len(texts),
            texts,
            activation_fn,
            show_progress_bar,
            self._resolved_prompt(prompt, prompt_name),
        )
        activation = self._activation if activation_fn is None else activation_from(activation_fn)
        ranked = []
        for index in ranking(logits[:, 0], scores, activation)[:top_k].tolist():
            entry: dict[str, Any] = {"corpus_id": index, "score": float(scores[index])}
            if return_documents:
                entry["text"] = items[index]
            ranked.append(entry)
        return ranked

    def _check_call(self, batch_size: int, device: str | None, pool: object) -> None:
        positive_count("batch_size", batch_size)
        if device is not None and str(device) not in self._devices:
            here = " or ".join(map(repr, sorted(self._devices)))
            raise UnsupportedDeviceError(
                f"device={device!r}: this reranker is on {here}; leave it out, or load another "
                "with from_pretrained(device=…)"
            )
        if pool is not None:
            raise InvalidArgumentError(
                "pool is not supported: one reranker uses every core; leave it out"
            )

    def _resolved_prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        prompt = optional_text(prompt, "prompt")
        prompt_name = optional_text(prompt_name, "prompt_name")
        if prompt is not None:
            return prompt
        if prompt_name is None:
            return self._default_prompt
        if prompt_name not in self._prompts:
            names = ", ".join(map(repr, self._prompts)) or "none"
            raise InvalidArgumentError(
                f"prompt_name={prompt_name!r}: this checkpoint's prompts are {names}; pass the "
                "text itself as prompt="
            )
        return self._prompts[prompt_name]

    def _scores(
        self,
        queries: list[str],
        documents: list[str],
        prompt: str,
        *,
        instruction: str | None = None,
        show_progress: bool | None = None,
    ) -> PairScores:
        """Scores of pairs; the prompt goes where the model expects it."""
        queries, instruction = self._prompted(queries, prompt, instruction)
        return self._scorer.scores(queries, documents, show_progress, instruction)

    def _prompted(
        self, queries: list[str], prompt: str, instruction: str | None
    ) -> tuple[list[str], str | None]:
        """Queries and instruction: the prompt before the query's text, or in place of the latter.

        It is for an instruction that is not given, where the model takes one.
        """
        instruction = optional_text(instruction, "instruction")
        if not self._engine.tokenizer.takes_instruction:
            return [prompt + query for query in queries], instruction
        return queries, prompt if instruction is None and prompt else instruction

    def _activated(
        self,
        queries: list[str],
        documents: list[str],
        activation_fn: object,
        show_progress: bool | None,
        prompt: str,
    ) -> tuple[Scores, Scores]:
        """Logits (n, num_labels) and scores, (n,) where there is one label."""
        activation = self._activation
        if activation_fn is not None:
            activation = activation_from(activation_fn, "activation_fn")
        logits = self._scores(queries, documents, prompt, show_progress=show_progress).logits
        scores = activation(logits)
        return logits, scores[:, 0] if scores.shape[1:] == (1,) else scores


def _split_pairs(inputs: Any) -> tuple[list[str], list[str], bool]:
    """Queries, documents, and whether `inputs` is one pair rather than a list of pairs."""
    if isinstance(inputs, (str, bytes, Mapping)) or inputs is None:
        raise InvalidTypeError(
            f"inputs is a {type(inputs).__name__}; pass a list of (query, document) pairs"
        )
    pairs = as_list(inputs, "inputs", "(query, document) pairs")
    is_single = bool(pairs) and not isinstance(pairs[0], _LIST_TYPES)
    queries, documents = [], []
    for index, pair in enumerate([pairs] if is_single else pairs):
        name = "inputs" if is_single else f"inputs[{index}]"
        if not isinstance(pair, _LIST_TYPES) or len(pair) != 2:
            raise InvalidTypeError(f"{name} is {pair!r:.80}; pass a (query, document) pair")
        queries.append(query_text(pair[0], f"{name}[0]"))
        documents.append(document_text(pair[1], f"{name}[1]"))
    return queries, documents, is_single


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingDependencyError(
            "tensors of scores need PyTorch: pip install torch, or leave convert_to_tensor and "
            "convert_to_numpy out for a numpy array"
        ) from error


def _renamed(method: str, old_name: str, old: Any, new_name: str, new: Any) -> Any:
    if old is None:
        return new
    warnings.warn(
        f"{old_name} of {method}() is now called {new_name}", DeprecationWarning, stacklevel=3
    )
    return old if new is None else new


def _warn_if_dropped(method: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            warnings.warn(
                f"{name} of {method}() has no effect any more", DeprecationWarning, stacklevel=3
            )
