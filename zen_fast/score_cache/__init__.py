"""Scores of pairs that were scored before: one cache, and the stores that it can keep them in."""

from zen_fast.score_cache.cache import ScoreCache, ScoreCacheStatistics
from zen_fast.score_cache.cached_score import CachedScore
from zen_fast.score_cache.fault_tolerant_store import FaultTolerantStore
from zen_fast.score_cache.fingerprint import model_fingerprint
from zen_fast.score_cache.memory_store import MemoryStore
from zen_fast.score_cache.opening import open_score_store
from zen_fast.score_cache.store import ScoreStore, StoreStatistics

__all__ = [
    "CachedScore",
    "FaultTolerantStore",
    "MemoryStore",
    "ScoreCache",
    "ScoreCacheStatistics",
    "ScoreStore",
    "StoreStatistics",
    "model_fingerprint",
    "open_score_store",
]
