"""One architecture as a table row: how to read its config, and what its tensors are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from zen_fast.architectures.settings import Settings
from zen_fast.spec import EncoderSpec

Naming = Mapping[str, str | tuple[str, ...]]
"""Canonical name → the checkpoint's name, or names of the parts to stack.

Both are names of modules (with a weight and perhaps a bias) or of single tensors; `*` stands for
the layer's index.
"""

_LAYER_INDEX = re.compile(r"(?:(?<=^layers\.)|(?<=^decoder\.layers\.))\d+")
_PARAMETER = re.compile(r"\.(weight|bias)$")
_HEADS = (
    r"pooler|pre_classifier|classifier|score|head|cls|lm_head|lm_predictions|decoder|"
    r"vocab_(transform|layer_norm|projector)|(discriminator|generator)_\w+"
)


@dataclass(frozen=True)
class Architecture:
    """A family of checkpoints that one reading of config and names covers."""

    encoder_spec: Callable[[Settings], EncoderSpec]
    prefixes: tuple[str, ...]
    """What the body is called inside the classification model, as `naming` has it first.

    A checkpoint may use any of them, or none.
    """
    naming: Naming
    other_namings: tuple[Naming, ...] = ()
    """Entries to try, in order, where a checkpoint lacks the tensors that `naming` names."""
    ignorable: tuple[str, ...] = ()
    """Patterns of the tensors, besides buffers of ids, that play no part in the logits."""
    norm_offset: float = 0.0
    """What the stock model adds to every norm's stored weight."""
    output_embedding: str = ""
    """Language models: the vocabulary's output rows, where they are not those of its input."""

    def sources(self, name: str, available: Container[str]) -> tuple[str, ...]:
        """Tensors of a checkpoint, to be stacked in this order, that make the canonical `name`.

        `available` holds the checkpoint's names. Where they lack some, the answer says what they
        should have been.
        """
        for naming in (self.naming, *self.other_namings):
            for prefix in (*self.prefixes, ""):
                sources = self._with_prefix(prefix, _named(naming, name))
                if sources and all(source in available for source in sources):
                    return sources
        return _named(self.naming, name)

    def is_ignorable(self, tensor_name: str) -> bool:
        """Whether a checkpoint's tensor is known to be no weight of the logits."""
        patterns = (r"embeddings\.(position_ids|token_type_ids)", *self.ignorable)
        prefix = "|".join(re.escape(prefix) for prefix in self.prefixes)
        return any(re.fullmatch(rf"({prefix})?{pattern}", tensor_name) for pattern in patterns)

    def is_head(self, tensor_name: str) -> bool:
        """Whether a checkpoint's tensor belongs to what may sit on the body, of any task."""
        prefix = "|".join(re.escape(prefix) for prefix in self.prefixes)
        return re.fullmatch(rf"({prefix})?({_HEADS})\..+", tensor_name) is not None

    def _with_prefix(self, prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
        first = self.prefixes[0]
        return tuple(
            prefix + name.removeprefix(first) if name.startswith(first) else name for name in names
        )


def _named(naming: Naming, name: str) -> tuple[str, ...]:
    layer = _LAYER_INDEX.search(name)
    pattern = _LAYER_INDEX.sub("*", name)
    parameter = ""
    if pattern not in naming and (match := _PARAMETER.search(pattern)):
        pattern, parameter = pattern[: match.start()], match.group()
    sources = naming.get(pattern, ())
    if isinstance(sources, str):
        sources = (sources,)
    index = layer.group() if layer else ""
    return tuple(source.replace("*", index) + parameter for source in sources)
