"""From a model's name and a caller's choices to the parts of a reranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from zen_fast.activation import ScoreActivation, activation_from, default_activation
from zen_fast.arguments import megabytes, optional_path, positive_count
from zen_fast.checkpoint import Checkpoint, load_checkpoint
from zen_fast.early_stop.planning import EarlyStop
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.engine_group import EngineGroup
from zen_fast.errors import InvalidArgumentError, UnsupportedModelError
from zen_fast.placement import MakeBackend, device_names, make_backend, split_devices
from zen_fast.prompts.loading import Prompt, load_prompt
from zen_fast.prompts.template import PromptTemplate
from zen_fast.quantization import at_precision
from zen_fast.score_cache import ScoreCache, ScoreStore, model_fingerprint, open_score_store
from zen_fast.scoring import Scorer
from zen_fast.sensitive_layers import sensitive_layers
from zen_fast.sentence_transformers_settings import SentenceTransformersSettings, read_settings
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import (
    DEFAULT_WINDOW_OVERLAP,
    LongDocuments,
    PairTokenizer,
    PromptTokenizer,
    Truncation,
)
from zen_fast.tokenization.stock_tokenizer import StockTokenizer, load_stock_tokenizer

AnyTokenizer = PairTokenizer | PromptTokenizer


@dataclass(frozen=True)
class Choices:
    """What a caller may choose beside the model; see `ZenReranker.from_pretrained`."""

    device: str
    precision: str
    backend: str
    max_length: int | None
    truncation: Truncation
    template: str | PromptTemplate | None
    long_documents: LongDocuments
    window_overlap: float
    max_windows: int | None
    num_threads: int | None
    activation: object
    token_cache_mb: float
    prefix_cache_mb: float
    score_cache: str | ScoreStore | None
    score_cache_mb: float
    score_cache_ttl_s: float | None
    calibration: str | Path | None
    revision: str | None
    token: str | None


@dataclass(frozen=True)
class Parts:
    """What a reranker is made of."""

    scorer: Scorer
    activation: ScoreActivation
    settings: SentenceTransformersSettings
    early_stop: EarlyStop
    devices: frozenset[str]
    """Names that PyTorch has for where it runs."""


def assemble(model: str | Path, choices: Choices) -> Parts:
    """Load `model` and build what runs it; every choice is checked before the weights are read.

    Raises:
        ZenError: see `ZenReranker.from_pretrained`.
    """
    cache_bytes = megabytes("token_cache_mb", choices.token_cache_mb)
    prefix_cache_bytes = megabytes("prefix_cache_mb", choices.prefix_cache_mb)
    max_length, num_threads = choices.max_length, choices.num_threads
    if max_length is not None:
        max_length = positive_count("max_length", max_length)
    if num_threads is not None:
        num_threads = positive_count("num_threads", num_threads)
    calibration = optional_path("calibration", choices.calibration)
    _refuse_idle_windows(choices)
    activation = None if choices.activation is None else activation_from(choices.activation)
    store = open_score_store(
        choices.score_cache, capacity_mb=choices.score_cache_mb, ttl_s=choices.score_cache_ttl_s
    )
    devices = split_devices(choices.device)
    makers = [
        make_backend(choices.backend, each, choices.precision, num_threads) for each in devices
    ]
    checkpoint = load_checkpoint(model, revision=choices.revision, token=choices.token)
    stock = load_stock_tokenizer(checkpoint.folder, checkpoint.config, checkpoint.tokenizer_config)
    settings = read_settings(checkpoint.folder)
    if max_length is None:
        max_length = settings.pair_length(checkpoint.spec.max_length)
    prompt = read_prompt(model, checkpoint, stock, settings, choices.template)
    if checkpoint.vocabulary is not None:
        checkpoint = answering(checkpoint, prompt)
    tokenizer = _tokenizer(stock, prompt, checkpoint.spec, choices)(
        longest_supported=checkpoint.spec.max_length,
        max_length=max_length,
        truncation=choices.truncation,
        cache_bytes=cache_bytes,
    )
    weights = at_precision(
        checkpoint.weights,
        checkpoint.spec,
        choices.precision,
        lambda: kept_layers(checkpoint, stock, prompt),
    )
    encoder = Encoder(checkpoint.spec, weights)
    engine = _engine(makers, encoder, tokenizer, prefix_cache_bytes)
    cache = None
    if store is not None:
        arithmetic = engine.backend.arithmetic
        cache = ScoreCache(store, _fingerprint(stock, prompt, tokenizer, encoder, arithmetic))
    return Parts(
        scorer=Scorer(engine, cache),
        activation=activation or _activation(str(model), checkpoint, settings, prompt),
        settings=settings,
        early_stop=EarlyStop(checkpoint.folder, calibration, engine.can_pause),
        devices=device_names(devices),
    )


def read_prompt(
    model: str | Path,
    checkpoint: Checkpoint,
    stock: StockTokenizer,
    settings: SentenceTransformersSettings,
    template: str | PromptTemplate | None = None,
) -> Prompt | None:
    """The prompt that a checkpoint's model reads; None for a classifier that reads a bare pair.

    Raises:
        ZenError: see `load_prompt`.
    """
    return load_prompt(
        checkpoint.folder,
        checkpoint.config,
        checkpoint.tokenizer_config,
        stock,
        settings,
        model=str(model),
        template=template,
    )


def _refuse_idle_windows(choices: Choices) -> None:
    if choices.long_documents != "truncate":
        return
    for name, value, default in (
        ("window_overlap", choices.window_overlap, DEFAULT_WINDOW_OVERLAP),
        ("max_windows", choices.max_windows, None),
    ):
        if value != default:
            raise InvalidArgumentError(
                f"{name}={value!r} is of windows, and long_documents='truncate' reads none: pass "
                "long_documents='chunk', or leave it out"
            )


def answering(checkpoint: Checkpoint, prompt: Prompt | None) -> Checkpoint:
    """A language model's checkpoint with the head that its prompt's answer makes."""
    assert prompt is not None  # load_prompt finds a language model's answer, or raises
    assert prompt.answer is not None
    return checkpoint.answering(prompt.answer)


def kept_layers(
    checkpoint: Checkpoint, stock: StockTokenizer, prompt: Prompt | None
) -> tuple[int, ...]:
    """The layers that stay in fp32 where the others become int8; see `sensitive_layers`."""
    spec = checkpoint.spec
    tokenizer = (
        stock.pair_tokenizer(longest_supported=spec.max_length)
        if prompt is None
        else stock.prompt_tokenizer(prompt.template, longest_supported=spec.max_length)
    )
    return sensitive_layers(spec, checkpoint.weights, tokenizer)


def _tokenizer(
    stock: StockTokenizer, prompt: Prompt | None, spec: EncoderSpec, choices: Choices
) -> Callable[..., AnyTokenizer]:
    """What makes sequences of ids: of prompts for a language model, of pairs for any other."""
    if prompt is not None:
        if spec.query_independent:
            raise UnsupportedModelError(
                "this model reads a query without its document (attention_pattern in config.json), "
                "and a prompt template does not keep the two apart; leave template= out"
            )
        if choices.long_documents != "truncate":
            raise InvalidArgumentError(
                f"long_documents={choices.long_documents!r}: a language model's prompt is read "
                "whole; use 'truncate'"
            )
        return partial(stock.prompt_tokenizer, prompt.template)
    return partial(
        stock.pair_tokenizer,
        long_documents=choices.long_documents,
        window_overlap=choices.window_overlap,
        max_windows=choices.max_windows,
    )


def _engine(
    makers: Sequence[MakeBackend],
    encoder: Encoder,
    tokenizer: AnyTokenizer,
    prefix_cache_bytes: int,
) -> Engine | EngineGroup:
    """An engine for each device; several act as one."""
    engines = []
    for make in makers:
        running, token_budget = make(encoder)
        engines.append(Engine(running, tokenizer, encoder.spec, token_budget, prefix_cache_bytes))
    return engines[0] if len(engines) == 1 else EngineGroup(engines)


def _activation(
    model: str,
    checkpoint: Checkpoint,
    settings: SentenceTransformersSettings,
    prompt: Prompt | None,
) -> ScoreActivation:
    """What the checkpoint asks for, else what the authors of its prompt or its head apply."""
    if prompt is not None and prompt.answer is not None and settings.activation_path is None:
        return activation_from(prompt.template.activation)
    num_labels = checkpoint.spec.head.num_labels
    return default_activation(model, settings.activation_path, checkpoint.config, num_labels)


def _fingerprint(
    stock: StockTokenizer,
    prompt: Prompt | None,
    tokenizer: AnyTokenizer,
    encoder: Encoder,
    arithmetic: str,
) -> bytes:
    """A digest of everything but the texts that a score depends on."""
    return model_fingerprint(
        spec=encoder.spec,
        weights=encoder.weights,
        tokenizer=stock.tokenizer,
        uses_token_types=stock.uses_token_types,
        template=None if prompt is None else prompt.template,
        max_length=tokenizer.max_length,
        truncation=tokenizer.truncation,
        truncation_side=stock.truncation_side,
        windows=tokenizer.windows if isinstance(tokenizer, PairTokenizer) else None,
        arithmetic=arithmetic,
    )
