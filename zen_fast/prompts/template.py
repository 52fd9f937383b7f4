"""A prompt template as data: what a language model reads around a query and a document."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any

from zen_fast.activation import ACTIVATIONS
from zen_fast.errors import InvalidArgumentError, InvalidTypeError

_PLACEHOLDER = re.compile(r"\{(instruction|query|document)\}")

_TYPES: Mapping[str, type | UnionType] = {
    "parts": list | tuple,
    "positive": str | int | None,
    "negative": str | int | None,
    "default_instruction": str | None,
    "instruction_format": str,
    "begins_with_bos": bool,
    "ends_with_eos": bool,
    "activation": str,
    "max_length": int | None,
    "uncounted_frames": int,
    "query_share": float | int,
}


@dataclass(frozen=True)
class PromptTemplate:
    """The text around query and document, the answer whose logit is the score, and the limits.

    `{instruction}`, `{query}` and `{document}` stand for the texts; any other brace is literal.
    Where a prompt is too long, the end of the document gives way; all that follows it stays.

    Raises:
        InvalidArgumentError, InvalidTypeError: the fields do not make a template.
    """

    parts: tuple[str, ...]
    """Each is tokenized on its own, as one text; their ids follow one another."""
    positive: str | int | None = None
    """The token whose logit says that the document is relevant, as the vocabulary spells it, or its
    id; None where the model has a classification head instead."""
    negative: str | int | None = None
    """The token whose logit is subtracted; None where the positive one's alone is the score."""
    default_instruction: str | None = None
    """The instruction where a call gives none; None where it has to give one."""
    instruction_format: str = "{instruction}"
    """What takes the place of {instruction}; nothing where the instruction is empty."""
    begins_with_bos: bool = False
    """The tokenizer's bos token comes first, if it has one that is not its pad token."""
    ends_with_eos: bool = False
    """The tokenizer's eos token comes last."""
    activation: str = "sigmoid"
    """From logits to scores, one of `ACTIVATIONS`."""
    max_length: int | None = None
    """Longest prompt, in tokens; None for what tokenizer and model allow."""
    uncounted_frames: int = 0
    """How many times `max_length` leaves out the parts before the query's and after the document's:
    0 counts every token, 1 only those of the texts' own parts and what is between them."""
    query_share: float = 1.0
    """Share of `max_length` that the query's part may fill before its own end is cut."""

    def __post_init__(self) -> None:
        for name, accepted in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, accepted):
                kind = accepted.__name__ if isinstance(accepted, type) else accepted
                raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass {kind}")
        if not all(isinstance(part, str) for part in self.parts):
            raise InvalidTypeError(f"parts={self.parts!r}: pass texts")
        object.__setattr__(self, "parts", tuple(self.parts))
        names = [name for part in self.parts for name in _PLACEHOLDER.findall(part)]
        if names.count("document") != 1 or "query" not in names:
            raise InvalidArgumentError(
                f"the template {''.join(self.parts)!r} must have {{query}}, and {{document}} "
                "exactly once"
            )
        if not all(self.parts):
            raise InvalidArgumentError(f"parts={self.parts!r}: no part may be empty")
        if _PLACEHOLDER.findall(self.instruction_format) != ["instruction"]:
            raise InvalidArgumentError(
                f"instruction_format={self.instruction_format!r} must have {{instruction}} once"
            )
        if self.positive is None and self.negative is not None:
            raise InvalidArgumentError(f"negative={self.negative!r} needs a positive token")
        if self.activation not in ACTIVATIONS:
            raise InvalidArgumentError(
                f"activation={self.activation!r} is not known; accepted are "
                f"{', '.join(ACTIVATIONS)}"
            )
        if not 0 < self.query_share <= 1:
            raise InvalidArgumentError(f"query_share={self.query_share}: pass more than 0, up to 1")
        if self.query_share < 1 and any(
            {"query", "document"} <= placeholders(p) for p in self.parts
        ):
            raise InvalidArgumentError(
                f"query_share={self.query_share} needs {{query}} and {{document}} in parts of "
                "their own"
            )

    @classmethod
    def from_text(cls, text: str) -> PromptTemplate:
        """The template that is one text, tokenized as a whole; special tokens are spelled out."""
        return cls(parts=(text,))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PromptTemplate:
        """The template that `to_json` described.

        Raises:
            InvalidArgumentError, InvalidTypeError: `fields` do not make a template.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(fields) - known:
            raise InvalidArgumentError(
                f"a template has no {', '.join(map(repr, sorted(unknown)))}; its fields are "
                f"{', '.join(sorted(known))}"
            )
        if "parts" not in fields:
            raise InvalidArgumentError("a template needs parts: a list of texts")
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """The fields that are not left at their defaults, as JSON holds them."""
        return {
            field.name: list(self.parts) if field.name == "parts" else getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    @property
    def takes_instruction(self) -> bool:
        """Whether {instruction} is in one of the parts."""
        return any("instruction" in placeholders(part) for part in self.parts)

    def instruction_text(self, instruction: str | None) -> str:
        """What takes the place of {instruction} for a call with this `instruction`.

        Raises:
            InvalidArgumentError: the template takes none, or needs one and there is none.
        """
        if not self.takes_instruction:
            if instruction is not None:
                raise InvalidArgumentError(
                    f"instruction={instruction!r}: this model's prompt has no place for one; leave "
                    "it out, or load the model with a template= that has {instruction}"
                )
            return ""
        chosen = self.default_instruction if instruction is None else instruction
        if chosen is None:
            raise InvalidArgumentError(
                "this model's prompt needs an instruction and has no default; pass instruction=, "
                "or load the model with a template= that has a default_instruction"
            )
        return filled(self.instruction_format, {"instruction": chosen}) if chosen else ""


def placeholders(part: str) -> frozenset[str]:
    """Names of the texts that `part` has a place for."""
    return frozenset(_PLACEHOLDER.findall(part))


def filled(part: str, texts: Mapping[str, str]) -> str:
    """`part` with each placeholder replaced; placeholders inside the texts stay as they are."""
    return _PLACEHOLDER.sub(lambda match: texts[match[1]], part)


def split_at_document(part: str) -> tuple[str, str]:
    """What is before and after {document}."""
    before, _, after = part.partition("{document}")
    return before, after
