"""From logits to scores: the activation that sentence-transformers would choose."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.errors import InvalidArgumentError, InvalidTypeError, UnsupportedModelError

logger = logging.getLogger(__name__)

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class ScoreActivation:
    """A function over logits (n, num_labels) fp32 of the same shape."""

    name: str
    function: Callable[[Scores], Any]
    keeps_order: bool
    """A larger logit never gets a smaller score, so that logits may be sorted in its place."""

    def __call__(self, logits: Scores) -> Scores:
        scores = np.asarray(self.function(logits), dtype=np.float32)
        if scores.shape != logits.shape:
            raise InvalidArgumentError(
                f"activation {self.name} turned {logits.shape} into {scores.shape}; it must keep "
                "the shape (num_pairs, num_labels)"
            )
        return scores


def sigmoid(logits: Scores) -> Scores:
    """Logistic function, computed in fp64; no logit overflows."""
    decay = np.exp(-np.abs(logits.astype(np.float64)))
    scores: Scores = (np.where(logits >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)
    return scores


def log_sigmoid(logits: Scores) -> Scores:
    """Logarithm of the logistic function, computed in fp64; no logit overflows."""
    scores: Scores = (-np.logaddexp(0.0, -logits.astype(np.float64))).astype(np.float32)
    return scores


def softmax(logits: Scores) -> Scores:
    """Softmax over each row, computed in fp64."""
    if not logits.size:
        return logits
    powers = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(np.float64))
    scores: Scores = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores


IDENTITY = ScoreActivation("Identity", lambda logits: logits, keeps_order=True)
SIGMOID = ScoreActivation("Sigmoid", sigmoid, keeps_order=True)
LOG_SIGMOID = ScoreActivation("LogSigmoid", log_sigmoid, keeps_order=True)
SOFTMAX = ScoreActivation("Softmax", softmax, keeps_order=True)
TANH = ScoreActivation("Tanh", np.tanh, keeps_order=True)
RELU = ScoreActivation("ReLU", lambda logits: np.maximum(logits, 0), keeps_order=True)

ACTIVATIONS: Mapping[str, ScoreActivation] = {
    activation.name.lower(): activation
    for activation in (IDENTITY, SIGMOID, LOG_SIGMOID, SOFTMAX, TANH, RELU)
}


def activation_from(value: object, argument: str = "activation") -> ScoreActivation:
    """The activation that a user names.

    Args:
        value: a name such as "sigmoid", a torch path such as "torch.nn.Sigmoid", a torch module or
            its class, or a function over a numpy array (n, num_labels) fp32, or over a tensor.
        argument: what error messages call it.

    Raises:
        InvalidArgumentError: a name that is not known.
        InvalidTypeError: neither a name nor callable.
    """
    if isinstance(value, ScoreActivation):
        return value
    if isinstance(value, str):
        known = ACTIVATIONS.get(value.rpartition(".")[2].lower())
        if known is None:
            raise InvalidArgumentError(
                f"{argument}={value!r} is not known; accepted are {', '.join(ACTIVATIONS)}, or a "
                "function over a numpy array"
            )
        return known
    if not callable(value):
        raise InvalidTypeError(
            f"{argument} is a {type(value).__name__}; pass one of {', '.join(ACTIVATIONS)}, a "
            "torch module, or a function over a numpy array"
        )
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__.startswith("torch.nn.modules"):
        known = ACTIVATIONS.get(kind.__name__.lower())
        # A softmax over the pairs, dim=0, is another function than one over each pair's labels.
        if known is not None and getattr(value, "dim", None) in (None, 1, -1):
            return known
    if _is_torch_module(kind):
        module = value() if isinstance(value, type) else value
        return ScoreActivation(kind.__name__, partial(_run_by_torch, module), keeps_order=False)
    name = getattr(value, "__name__", kind.__name__)
    return ScoreActivation(name, partial(_run, value), keeps_order=False)


def default_activation(
    model: str, model_path: str | None, config: Mapping[str, Any], num_labels: int
) -> ScoreActivation:
    """The activation of a checkpoint whose user names none.

    The rule is that of sentence-transformers 6: what its own settings file says, else config.json
    under "sentence_transformers", else the same file under the older
    "sbert_ce_default_activation_function", else Sigmoid for one label and Identity for more. A path
    outside torch is code of the checkpoint: it is not run, and the rule goes on.

    Args:
        model: what messages call the checkpoint.
        model_path: path of the activation's class in config_sentence_transformers.json.
        config: content of config.json.

    Raises:
        UnsupportedModelError: a path inside torch that is not known here.
    """
    saved = config.get("sentence_transformers") or {}
    config_path = saved.get("activation_fn", config.get("sbert_ce_default_activation_function"))
    for path in (model_path, config_path):
        if path is None:
            continue
        if not path.startswith("torch."):
            logger.warning(
                "%s asks for the activation %s, which is code of the checkpoint and not run; "
                "pass activation= to choose one",
                model,
                path,
            )
            continue
        try:
            return activation_from(path)
        except InvalidArgumentError as error:
            raise UnsupportedModelError(
                f"{model} asks for the activation {path}; accepted are {', '.join(ACTIVATIONS)}: "
                "pass activation= to choose one"
            ) from error
    return SIGMOID if num_labels == 1 else IDENTITY


def _is_torch_module(kind: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(kind, torch.nn.Module)


def _run(function: Callable[[Any], Any], logits: Scores) -> Any:
    """`function` of the array or, where it is one of torch and refuses that, of a tensor."""
    try:
        return function(logits)
    except (AttributeError, TypeError):
        if "torch" not in sys.modules:
            raise
        return _run_by_torch(function, logits)


def _run_by_torch(function: Callable[[Any], Any], logits: Scores) -> Any:
    torch: Any = sys.modules["torch"]
    with torch.inference_mode():
        return function(torch.from_numpy(logits)).numpy()
