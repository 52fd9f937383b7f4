"""A bi-encoder's folder, as sentence-transformers writes it: an encoder, a pooling, and more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from zen_fast.checkpoint.json_file import read_json, read_json_list
from zen_fast.checkpoint.loading import Checkpoint, load_body
from zen_fast.checkpoint.location import locate
from zen_fast.checkpoint.tensors import TensorFiles
from zen_fast.errors import CheckpointError, UnsupportedModelError
from zen_fast.spec import Activation, EncoderSpec, Pooling
from zen_fast.weights import Array, parameter_shapes

logger = logging.getLogger(__name__)

Similarity = Literal["cosine", "dot"]

_POOLINGS = {"cls": "first", "mean": "mean", "lasttoken": "last"}
_OLD_POOLING_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_DENSE_ACTIVATIONS: Mapping[str, Activation | None] = {
    "Identity": None,
    "GELU": "gelu",
    "ReLU": "relu",
    "SiLU": "silu",
    "Tanh": "tanh",
}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class EmbeddingCheckpoint:
    """A bi-encoder as loaded from its files, before any backend."""

    body: Checkpoint
    """Its spec and weights include the pooling, and a dense layer where there is one."""
    normalize: bool
    """Whether embeddings are scaled to length 1."""
    similarity: Similarity
    prompts: Mapping[str, str]
    """Name → text put before a text."""
    default_prompt: str
    max_length: int | None
    """Longest text in tokens; None where the settings say nothing."""
    dimensions: int | None
    """Columns kept of an embedding; None for all of them."""

    @property
    def query_prompt(self) -> str:
        return self.prompts.get("query", "")

    @property
    def document_prompt(self) -> str:
        """The first that is not empty: sentence-transformers saves an empty "document" prompt
        beside the "passage" prompt that a model was trained with."""
        return next(filter(None, map(self.prompts.get, _DOCUMENT_PROMPTS)), "")


def _warn_of_classifier(folder: Path) -> None:
    """Its states make vectors, too, but nobody trained these to say what a text is about."""
    classes = read_json(folder / "config.json", {}).get("architectures") or []
    if any(str(each).endswith("ForSequenceClassification") for each in classes):
        logger.warning(
            "%s is a classifier (%s): means of its states will hardly find anything; give a "
            "bi-encoder as embedder, and this one to rerank",
            folder,
            ", ".join(classes),
        )


def load_embedding_checkpoint(
    model: str | Path, *, revision: str | None = None, token: str | None = None
) -> EmbeddingCheckpoint:
    """Load a bi-encoder from a local folder or a hub id.

    A folder without modules.json is mean-pooled, as sentence-transformers has it.

    Raises:
        ModelNotFoundError: no such model, or the hub cannot be reached.
        UnsupportedModelError: its architecture, or one of its modules or settings, is not
            supported.
        CheckpointError: its files do not form a bi-encoder.
    """
    folder = locate(model, revision, token)
    modules = _read_modules(folder)
    if not modules:
        _warn_of_classifier(folder)
    settings = read_json(folder / "config_sentence_transformers.json", {})
    transformer_folder = folder / modules.get("Transformer", "")
    transformer = read_json(transformer_folder / "sentence_bert_config.json", {})
    _refuse_set(transformer, "sentence_bert_config.json", ("do_lower_case", "processing_kwargs"))
    body = load_body(transformer_folder, _pooling(folder, modules))
    if "Dense" in modules:
        body = _with_dense(body, folder / modules["Dense"])
    prompts = settings.get("prompts") or {}
    default = settings.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CheckpointError(
            f"config_sentence_transformers.json of {folder} has default_prompt_name={default!r}; "
            f"its prompts are {', '.join(map(repr, prompts)) or 'none'}"
        )
    return EmbeddingCheckpoint(
        body=body,
        normalize="Normalize" in modules,
        similarity=_similarity(settings),
        prompts=prompts,
        default_prompt="" if default is None else prompts[default],
        max_length=transformer.get("max_seq_length"),
        dimensions=settings.get("truncate_dim"),
    )


def _read_modules(folder: Path) -> dict[str, str]:
    """Kind of each module → its path inside the folder."""
    if not (folder / "modules.json").is_file():
        return {}
    modules = read_json_list(folder / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    optional = [kind for kind in ("Dense", "Normalize") if kind in kinds]
    if kinds != ["Transformer", "Pooling", *optional]:
        raise UnsupportedModelError(
            f"{folder} is made of the modules {', '.join(kinds)}; accepted are Transformer, "
            "Pooling, then at most one Dense and one Normalize"
        )
    return {kind: str(module.get("path", "")) for kind, module in zip(kinds, modules, strict=True)}


def _pooling(folder: Path, modules: Mapping[str, str]) -> Pooling:
    if "Pooling" not in modules:
        return "mean"
    path = folder / modules["Pooling"] / "config.json"
    config = read_json(path)
    if config.get("include_prompt") is False:
        raise UnsupportedModelError(
            f"{path} has include_prompt=false, which is not supported; accepted: true"
        )
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for name, mode in _OLD_POOLING_NAMES.items() if config.get(name)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    accepted = [mode for mode, pooling in _POOLINGS.items() if pooling in get_args(Pooling)]
    if len(modes) != 1 or modes[0] not in accepted:
        raise UnsupportedModelError(
            f"{path} pools by {' and '.join(map(str, modes))}; accepted: one of "
            f"{', '.join(accepted)}"
        )
    return cast("Pooling", _POOLINGS[modes[0]])


def _with_dense(body: Checkpoint, folder: Path) -> Checkpoint:
    """The body with a Dense module on its pooled rows, in the place of a reranker's head."""
    config = read_json(folder / "config.json")
    _refuse_set(config, f"{folder / 'config.json'}", ("use_residual",))
    activation_name = str(config.get("activation_function", "")).rpartition(".")[2]
    width = config.get("out_features")
    if isinstance(width, bool) or not isinstance(width, int):
        raise CheckpointError(f"{folder / 'config.json'} has out_features={width!r}, no number")
    square = width == body.spec.hidden_size
    if activation_name not in _DENSE_ACTIVATIONS or (activation_name != "Identity" and not square):
        raise UnsupportedModelError(
            f"{folder} goes from {body.spec.hidden_size} to {width} columns through "
            f"{activation_name or 'no named activation'}; accepted are Identity, and between equal "
            f"widths {', '.join(_DENSE_ACTIVATIONS)}"
        )
    activation, bias = _DENSE_ACTIVATIONS[activation_name], bool(config.get("bias", True))
    head = replace(body.spec.head, num_labels=width)
    if activation is None:
        name, head = "head.classifier", replace(head, classifier=True, classifier_bias=bias)
    else:
        name = "head.dense"
        head = replace(head, dense=True, dense_bias=bias, activation=activation)
    spec = replace(body.spec, head=head)
    weights = body.weights.with_more(_dense_tensors(TensorFiles(folder), name, spec))
    return replace(body, spec=spec, weights=weights)


def _dense_tensors(files: TensorFiles, name: str, spec: EncoderSpec) -> dict[str, Array]:
    shapes = {key: shape for key, shape in parameter_shapes(spec).items() if key.startswith(name)}
    tensors = {}
    for key, shape in shapes.items():
        source = key.replace(name, "linear")
        if source not in files or files[source].shape != shape:
            have = files[source].shape if source in files else "none"
            raise CheckpointError(
                f"{files.paths[0]} should have {source} of shape {shape}; it has {have}"
            )
        tensors[key] = files[source].fp32()
    return tensors


def _similarity(settings: Mapping[str, Any]) -> Similarity:
    name = settings.get("similarity_fn_name") or "cosine"
    if name not in get_args(Similarity):
        raise UnsupportedModelError(
            f"config_sentence_transformers.json has similarity_fn_name={name!r}; accepted are "
            f"{', '.join(get_args(Similarity))}"
        )
    return cast("Similarity", name)


def _refuse_set(config: Mapping[str, Any], where: str, names: tuple[str, ...]) -> None:
    for name in names:
        if config.get(name):
            raise UnsupportedModelError(f"{where} has {name}={config[name]!r}: not supported")
