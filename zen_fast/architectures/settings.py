"""A model's config.json, read with types, defaults, and errors that name the setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from zen_fast.errors import UnsupportedModelError
from zen_fast.spec import Activation

# Keys as in transformers' ACT2FN; its tanh approximations of GELU differ only in rounding.
_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


class Settings:
    """Typed access to a config mapping; a setting that is absent or null takes its default."""

    def __init__(self, config: Mapping[str, Any], model_type: str | None = None) -> None:
        self.config = config
        self._model_type = model_type or config.get("model_type")

    def integer(self, name: str, default: int) -> int:
        """A whole number."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, "a whole number")
        return value

    def count(self, name: str, default: int) -> int:
        """A whole number of at least 1."""
        value = self.integer(name, default)
        if value < 1:
            self.refuse(name, "a whole number of at least 1")
        return value

    def optional_count(self, name: str, default: int | None) -> int | None:
        """A whole number of at least 1, or None where the config says null."""
        value = self.config.get(name, default)
        return None if value is None else self.count(name, value)

    def number(self, name: str, default: float) -> float:
        """A number."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name, "a number")
        return float(value)

    def optional_number(self, name: str, default: float | None) -> float | None:
        """A number, or None where the config says null."""
        value = self.config.get(name, default)
        return None if value is None else self.number(name, value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def text(self, name: str, default: str, accepted: Sequence[str]) -> str:
        """One of the accepted strings."""
        value = self._value(name, default)
        if value not in accepted:
            self.refuse(name, " or ".join(repr(word) for word in accepted))
        return str(value)

    def nested(self, name: str) -> Settings:
        """A mapping inside the mapping; empty where there is none."""
        value = self._value(name, {})
        if not isinstance(value, Mapping):
            self.refuse(name, "a mapping")
        return Settings(value, self._model_type)

    def activation(self, name: str, default: str) -> Activation:
        """An activation function by its transformers name."""
        return _ACTIVATIONS[self.text(name, default, sorted(_ACTIVATIONS))]

    def num_labels(self) -> int:
        """Number of logits: as many as id2label names, else num_labels, else 2."""
        id_to_label = self.nested("id2label").config
        return len(id_to_label) if id_to_label else self.integer("num_labels", 2)

    def require(self, name: str, default: object, accepted: object) -> None:
        """Refuse any other value of a setting that changes the mathematics."""
        if self._value(name, default) != accepted:
            self.refuse(name, repr(accepted))

    def refuse(self, name: str, accepted: str) -> NoReturn:
        """Raise UnsupportedModelError for the setting `name`."""
        raise UnsupportedModelError(
            f"config.json of this {self._model_type!r} model has "
            f"{name}={self.config.get(name)!r}, which is not supported; accepted: {accepted}"
        )

    def _value(self, name: str, default: Any) -> Any:
        value = self.config.get(name)
        return default if value is None else value
