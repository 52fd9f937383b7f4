"""From a folder of files to the spec and weights of one encoder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zen_fast.architectures import Architecture, architecture_of, encoder_spec
from zen_fast.checkpoint.answer_head import answer_head
from zen_fast.checkpoint.json_file import read_json
from zen_fast.checkpoint.location import locate
from zen_fast.checkpoint.tensors import StoredTensor, TensorFiles
from zen_fast.errors import CheckpointError
from zen_fast.prompts.answer import AnswerTokens
from zen_fast.spec import EncoderSpec, HeadSpec, Pooling
from zen_fast.weights import (
    EMBEDDING_TABLES,
    INPUT_SCALES,
    SCALES,
    Array,
    Weights,
    beside,
    is_quantizable,
    is_smoothed,
    parameter_shapes,
    part_rows,
)

_MAX_NAMES_SHOWN = 8
_HEAD_IS_NEEDED = "; a reranker needs a sequence-classification checkpoint, head included"


@dataclass(frozen=True)
class Checkpoint:
    """A model as loaded from its files, before any backend."""

    folder: Path
    config: dict[str, Any]
    """config.json"""
    tokenizer_config: dict[str, Any]
    """tokenizer_config.json; empty where there is none"""
    spec: EncoderSpec
    weights: Weights
    """Of a language model without a classifier, all but the head; `answering` adds it."""
    vocabulary: StoredTensor | None = None
    """Output rows of such a model, (vocab_size, hidden_size)"""

    def answering(self, answer: AnswerTokens) -> Checkpoint:
        """This language model as a generative reranker, scored by what it says of `answer`.

        Raises:
            CheckpointError: a token is beyond the vocabulary.
        """
        if self.vocabulary is None:
            raise CheckpointError(f"{self.folder} has a head of its own")
        tensors = dict(self.weights) | answer_head(self.vocabulary, answer, self.spec)
        weights = Weights(tensors, self.spec.norm_eps, self.spec.norm_centred)
        return replace(self, weights=weights, vocabulary=None)


def load_checkpoint(
    model: str | Path, *, revision: str | None = None, token: str | None = None
) -> Checkpoint:
    """Load a cross-encoder from an embedded name, a local folder or a hub id.

    Args:
        model: name of an embedded model such as "zen-mini", path of a folder, or hub id.
        revision: branch, tag or commit on the hub.
        token: access token of the hub, for private models.

    Raises:
        ModelNotFoundError: no such model, or the hub cannot be reached.
        UnsupportedModelError: its architecture, or one of its settings, is not supported.
        CheckpointError: its files do not form a model with a classification head.
    """
    return _load_folder(locate(model, revision, token))


def load_body(folder: Path, pooling: Pooling) -> Checkpoint:
    """Load an encoder without any head: what it gives is the pooled rows of the last layer.

    A head that the files hold is left alone. Raises as `load_checkpoint`.
    """
    return _load_folder(folder, pooling)


def _load_folder(folder: Path, pooling: Pooling | None = None) -> Checkpoint:
    config = read_json(folder / "config.json")
    spec = encoder_spec(config)
    if pooling is not None:
        head = HeadSpec(spec.hidden_size, pooling, dense=False, classifier=False)
        spec = replace(spec, head=head)
    files = TensorFiles(folder)
    is_quantized = config.get("quantization_config") is not None
    has_vocabulary = spec.head.is_generative and not is_quantized
    return Checkpoint(
        folder=folder,
        config=config,
        tokenizer_config=read_json(folder / "tokenizer_config.json", {}),
        spec=spec,
        weights=load_quantized_weights(files, spec)
        if is_quantized
        else load_weights(files, architecture_of(config), spec),
        vocabulary=_vocabulary(files, architecture_of(config), spec) if has_vocabulary else None,
    )


def load_quantized_weights(files: TensorFiles, spec: EncoderSpec) -> Weights:
    """Map the canonical tensors of a quantized checkpoint; projections may be of either kind.

    Raises:
        CheckpointError: a tensor is missing, left over or of the wrong shape or kind.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in parameter_shapes(spec).items():
        shapes[name] = shape
        if name not in files or not _is_quantized(files[name], name):
            continue
        shapes[beside(name, SCALES)] = shape[:1]
        if is_smoothed(name):
            shapes[beside(name, INPUT_SCALES)] = shape[1:]
    where = ", ".join(str(path) for path in files.paths)
    if missing := set(shapes) - set(files):
        raise CheckpointError(f"missing in {where}: {_listed(missing)}; quantize the model again")
    if leftover := set(files) - set(shapes):
        raise CheckpointError(f"{where} has tensors of no use: {_listed(leftover)}")
    tensors = {
        name: _gather(files, name, (name,), shape, shape[:1]) for name, shape in shapes.items()
    }
    return Weights(tensors, spec.norm_eps, spec.norm_centred)


def load_weights(files: TensorFiles, architecture: Architecture, spec: EncoderSpec) -> Weights:
    """Gather every canonical tensor of `spec` from the checkpoint's own, a generative head's not.

    Raises:
        CheckpointError: a tensor is missing, left over or of the wrong shape.
    """
    shapes = parameter_shapes(spec)
    needed = set()
    if spec.head.is_generative:
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith("head.")}
        needed = {_vocabulary_name(files, architecture, spec)}
    sources = {name: architecture.sources(name, files) for name in shapes}
    needed |= {source for names in sources.values() for source in names}
    where = ", ".join(str(path) for path in files.paths)
    if missing := needed - set(files):
        raise CheckpointError(
            f"missing in {where}: {_listed(missing)}"
            + (_HEAD_IS_NEEDED if spec.head.classifier else "")
        )
    leftover = {name for name in set(files) - needed if not architecture.is_ignorable(name)}
    if not spec.head.classifier:
        leftover = {name for name in leftover if not architecture.is_head(name)}
    if leftover:
        raise CheckpointError(
            f"{where} has tensors that a {spec.architecture} model with the settings of "
            f"config.json does not use: {_listed(leftover)}"
        )
    tensors = {}
    for name, shape in shapes.items():
        rows = part_rows(spec, shape[0], len(sources[name]))
        tensors[name] = _gather(files, name, sources[name], shape, rows)
        if architecture.norm_offset and name.endswith("norm.weight"):
            tensors[name] = tensors[name] + np.float32(architecture.norm_offset)
    return Weights(tensors, spec.norm_eps, spec.norm_centred)


def _vocabulary_name(files: TensorFiles, architecture: Architecture, spec: EncoderSpec) -> str:
    """The tensor of the vocabulary's output rows; the input's where the two are tied."""
    if spec.head.is_tied and architecture.output_embedding not in files:
        return architecture.sources("embeddings.token", files)[0]
    return architecture.output_embedding


def _vocabulary(files: TensorFiles, architecture: Architecture, spec: EncoderSpec) -> StoredTensor:
    tensor = files[_vocabulary_name(files, architecture, spec)]
    expected = (spec.vocab_size, spec.hidden_size)
    if tensor.shape != expected:
        raise CheckpointError(
            f"the output embedding of {tensor.path} has shape {tensor.shape}; config.json asks for "
            f"{expected}"
        )
    return tensor


def _gather(
    files: TensorFiles,
    name: str,
    sources: tuple[str, ...],
    shape: tuple[int, ...],
    rows: tuple[int, ...],
) -> Array:
    """The parts stacked: so many `rows` of each."""
    parts = [files[source] for source in sources]
    for source, part, num_rows in zip(sources, parts, rows, strict=True):
        expected = (num_rows, *shape[1:])
        if part.shape != expected:
            raise CheckpointError(
                f"tensor {source} of {part.path} has shape {part.shape}; config.json asks for "
                f"{expected}"
            )
    if len(parts) > 1:
        return np.concatenate([part.fp32() for part in parts])
    # A view of the file keeps large tables out of memory, page by page.
    if _is_quantized(parts[0], name):
        return parts[0].stored
    return parts[0].fp32_or_fp16() if name in EMBEDDING_TABLES else parts[0].fp32()


def _is_quantized(tensor: StoredTensor, name: str) -> bool:
    return tensor.dtype == "I8" and is_quantizable(name)


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _MAX_NAMES_SHOWN
    return ", ".join(ordered[:_MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
