"""Tokenization: (query, document) texts → the ids that the stock tokenizer would give the model."""

from zen_fast.tokenization.pair_tokenizer import PairTokenizer
from zen_fast.tokenization.prompt_tokenizer import PromptTokenizer
from zen_fast.tokenization.token_cache import TokenCache, TokenCacheStatistics, TokenizedText
from zen_fast.tokenization.truncation import Truncation, TruncationSide
from zen_fast.tokenization.windows import (
    DEFAULT_WINDOW_OVERLAP,
    LongDocuments,
    Window,
    WindowSettings,
)

__all__ = [
    "DEFAULT_WINDOW_OVERLAP",
    "LongDocuments",
    "PairTokenizer",
    "PromptTokenizer",
    "TokenCache",
    "TokenCacheStatistics",
    "TokenizedText",
    "Truncation",
    "TruncationSide",
    "Window",
    "WindowSettings",
]
