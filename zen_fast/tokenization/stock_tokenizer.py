"""The tokenizer that transformers 5 would load from a checkpoint folder, without transformers.

For most encoder families transformers reads only the vocabulary from tokenizer.json: normalizer,
pre-tokenizer and post-processor are built anew from tokenizer_config.json. `tokenizer_classes`
says what each class builds; this module finds the class and the added tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from zen_fast.checkpoint.json_file import read_json
from zen_fast.errors import CheckpointError, InvalidArgumentError, UnsupportedModelError
from zen_fast.prompts.template import PromptTemplate
from zen_fast.tokenization.language_model_tokenizers import (
    CLASS_OF_LANGUAGE_MODEL,
    LANGUAGE_MODEL_CLASSES,
    NAMED_WRONGLY,
)
from zen_fast.tokenization.pair_layout import PairLayout
from zen_fast.tokenization.pair_tokenizer import PairTokenizer
from zen_fast.tokenization.prompt_tokenizer import PromptTokenizer
from zen_fast.tokenization.tokenizer_classes import (
    CLASS_OF_MODEL_TYPE,
    SPECIAL_TOKEN_NAMES,
    TOKENIZER_CLASSES,
    TokenizerClass,
    TokenizerSettings,
)
from zen_fast.tokenization.truncation import Truncation, TruncationSide
from zen_fast.tokenization.windows import DEFAULT_WINDOW_OVERLAP, LongDocuments

Json = Mapping[str, Any]

PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizer", "PythonBackend")
"""Classes that take tokenizer.json as it is; the last two are what old names stand for now."""

_CLASSES = {**TOKENIZER_CLASSES, **LANGUAGE_MODEL_CLASSES}
_CLASS_OF_MODEL_TYPE = {**CLASS_OF_MODEL_TYPE, **CLASS_OF_LANGUAGE_MODEL}

MAX_SENSIBLE_LENGTH = 10**20
"""Beyond this, model_max_length means that the tokenizer knows no limit."""


@dataclass(frozen=True)
class StockTokenizer:
    """A loaded tokenizer with the settings that live outside it."""

    tokenizer: Tokenizer
    model_max_length: int | None
    """Longest sequence, in tokens, that the settings allow; None where they say nothing."""
    truncation_side: TruncationSide
    uses_token_types: bool
    special_tokens: Mapping[str, str]
    """Name such as "bos_token" → the token."""

    def pair_tokenizer(
        self,
        *,
        longest_supported: int,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        long_documents: LongDocuments = "truncate",
        window_overlap: float = DEFAULT_WINDOW_OVERLAP,
        max_windows: int | None = None,
        cache_bytes: int = 0,
        layout: PairLayout | None = None,
    ) -> PairTokenizer:
        """The pair tokenizer for a model whose positions end at `longest_supported` tokens.

        Args:
            layout: None for that of the tokenizer's pairs.

        Raises:
            InvalidArgumentError: `max_length` is longer than that, or too short for any text.
        """
        self._check_max_length(max_length, longest_supported)
        if max_length is None:
            max_length = min(self.model_max_length or longest_supported, longest_supported)
        return PairTokenizer(
            self.tokenizer,
            max_length=max_length,
            truncation=truncation,
            truncation_side=self.truncation_side,
            long_documents=long_documents,
            window_overlap=window_overlap,
            max_windows=max_windows,
            uses_token_types=self.uses_token_types,
            cache_bytes=cache_bytes,
            layout=layout,
        )

    def prompt_tokenizer(
        self,
        template: PromptTemplate,
        *,
        longest_supported: int,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        cache_bytes: int = 0,
    ) -> PromptTokenizer:
        """The prompt tokenizer for a model whose positions end at `longest_supported` tokens.

        Raises:
            CheckpointError: the tokenizer lacks a token that the template needs.
            InvalidArgumentError: `max_length` is longer than that, or too short for the template.
        """
        self._check_max_length(max_length, longest_supported)
        bos_id, eos_id, pad_id = (
            self._special_id(f"{name}_token") for name in ("bos", "eos", "pad")
        )
        if template.ends_with_eos and eos_id is None:
            raise CheckpointError(
                "the model's prompt ends with an eos token, and its tokenizer has none; name it as "
                "eos_token in tokenizer_config.json"
            )
        return PromptTokenizer(
            self.tokenizer,
            template,
            bos_id=bos_id if template.begins_with_bos and bos_id != pad_id else None,
            eos_id=eos_id if template.ends_with_eos else None,
            max_length=max_length,
            longest_supported=min(self.model_max_length or longest_supported, longest_supported),
            truncation=truncation,
            cache_bytes=cache_bytes,
        )

    def _special_id(self, name: str) -> int | None:
        token = self.special_tokens.get(name)
        return None if token is None else self.tokenizer.token_to_id(token)

    def _check_max_length(self, max_length: int | None, longest_supported: int) -> None:
        if max_length is not None and max_length > longest_supported:
            raise InvalidArgumentError(
                f"max_length={max_length} is beyond this model: its positions end at "
                f"{longest_supported} tokens; pass at most that, or None for the model's own limit"
            )


def load_stock_tokenizer(folder: Path, config: Json, tokenizer_config: Json) -> StockTokenizer:
    """Load the tokenizer of the checkpoint in `folder` as transformers 5 would.

    Args:
        folder: holds tokenizer.json.
        config: content of config.json.
        tokenizer_config: content of tokenizer_config.json, {} where there is none.

    Raises:
        CheckpointError: tokenizer.json is missing, or one of the files cannot be read.
        UnsupportedModelError: the tokenizer's class or one of its settings is not supported.
    """
    path = folder / "tokenizer.json"
    source = _read_tokenizer(path)
    truncation_side = (source.truncation or {}).get("direction", "right")
    truncation_side = tokenizer_config.get("truncation_side", truncation_side)
    if truncation_side not in ("right", "left"):
        raise UnsupportedModelError(
            f"tokenizer_config.json has truncation_side={truncation_side!r}; accepted are 'right' "
            "and 'left'"
        )
    tokenizer_class = _tokenizer_class(config, tokenizer_config, source)
    settings = _settings(folder, source, tokenizer_config, tokenizer_class)
    tokenizer = source
    if tokenizer_class is not None:
        tokenizer = tokenizer_class.rebuild(source, settings, path)
    _add_tokens(tokenizer, settings)
    if tokenizer_class is not None:
        tokenizer.post_processor = tokenizer_class.post_processor(tokenizer, settings)
    tokenizer.encode_special_tokens = bool(tokenizer_config.get("split_special_tokens", False))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    uses_token_types = tokenizer_class is not None and tokenizer_class.uses_token_types
    if "model_input_names" in tokenizer_config:
        uses_token_types = "token_type_ids" in tokenizer_config["model_input_names"]
    length = tokenizer_config.get("model_max_length", tokenizer_config.get("max_len"))
    has_limit = length is not None and length <= MAX_SENSIBLE_LENGTH
    return StockTokenizer(
        tokenizer=tokenizer,
        model_max_length=int(length) if has_limit else None,
        truncation_side=truncation_side,
        uses_token_types=uses_token_types,
        special_tokens=settings.special_tokens,
    )


def _read_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing; save the checkpoint's fast tokenizer beside its weights once: "
            f'transformers.AutoTokenizer.from_pretrained("{path.parent}")'
            f'.save_pretrained("{path.parent}")'
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing more specific
        raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}") from error


def _tokenizer_class(
    config: Json, tokenizer_config: Json, source: Tokenizer
) -> TokenizerClass | None:
    """The class that transformers' AutoTokenizer would choose; None takes tokenizer.json as is."""
    model_type = config.get("model_type", "")
    by_model_type = _CLASS_OF_MODEL_TYPE.get(model_type)
    declared = tokenizer_config.get("tokenizer_class") or config.get("tokenizer_class")
    if by_model_type in PLAIN_CLASSES or (declared is None and by_model_type is None):
        return None
    if model_type in NAMED_WRONGLY:
        declared = by_model_type
    name = (declared or by_model_type or "").removesuffix("Fast")
    if name in PLAIN_CLASSES or (name == "LlamaTokenizer" and _is_byte_level(source)):
        return None
    if name not in _CLASSES:
        accepted = ", ".join((*_CLASSES, *PLAIN_CLASSES))
        raise UnsupportedModelError(
            f"tokenizer class {declared!r} is not supported; accepted are {accepted}"
        )
    return _CLASSES[name]


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    """Llama 3 and its kin name a class that would not read their vocabulary."""
    return "ByteLevel" in f"{tokenizer.pre_tokenizer} {tokenizer.decoder}"


def _settings(
    folder: Path,
    source: Tokenizer,
    tokenizer_config: Json,
    tokenizer_class: TokenizerClass | None,
) -> TokenizerSettings:
    """tokenizer_config.json with the class's defaults and the files that older releases wrote."""
    values: dict[str, Any] = dict(tokenizer_class.special_tokens if tokenizer_class else {})
    values.update(tokenizer_config)
    if "added_tokens_decoder" in tokenizer_config:
        added = _saved_tokens(tokenizer_config["added_tokens_decoder"])
    else:
        values.update(read_json(folder / "special_tokens_map.json", {}))
        added = dict(source.get_added_tokens_decoder())
    special_tokens = {
        name: _content(name, values[name])
        for name in SPECIAL_TOKEN_NAMES
        if values.get(name) is not None
    }
    extra = values.get("extra_special_tokens") or values.get("additional_special_tokens") or ()
    extra = extra.values() if isinstance(extra, Mapping) else extra
    return TokenizerSettings(
        values=values,
        special_tokens=special_tokens,
        extra_special_tokens=tuple(_content("extra_special_tokens", token) for token in extra),
        added_tokens=added,
    )


def _saved_tokens(saved: Json) -> dict[int, AddedToken]:
    try:
        return {int(index): AddedToken(**fields) for index, fields in saved.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"tokenizer_config.json has a malformed added_tokens_decoder: {error}"
        ) from error


def _content(name: str, token: object) -> str:
    content = token.get("content") if isinstance(token, Mapping) else token
    if not isinstance(content, str):
        raise CheckpointError(
            f"the tokenizer's files say {name}={token!r}; a token is a text, or an object with the "
            'text as its "content"'
        )
    return content


def _add_tokens(tokenizer: Tokenizer, settings: TokenizerSettings) -> None:
    """Add the tokens that the settings know and the tokenizer does not, in transformers' order."""
    present = tokenizer.get_added_tokens_decoder().values()
    present_as_saved = {repr(token) for token in present}
    to_add = [
        token
        for _, token in sorted(settings.added_tokens.items(), key=lambda item: item[0])
        if repr(token) not in present_as_saved
    ]
    known = {token.content for token in (*present, *to_add)}
    named = settings.special_tokens.values()
    for token in to_add:
        token.special = token.special or token.content in named
    for content in (*named, *settings.extra_special_tokens):
        if content not in known:
            to_add.append(AddedToken(content, special=True))
            known.add(content)
    if to_add:
        tokenizer.add_tokens(to_add)
