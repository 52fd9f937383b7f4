"""What a model makes of the tokens that many sequences begin with, computed once.

A token of a causal model depends on nothing behind it. The keys and values of an instruction and
its query are therefore those of every document's sequence, to the bit on the same kernels, and
those of the instruction alone are those of every query's. In a query-independent model this holds
of a sequence's whole head, what comes before its document, and of no shorter beginning.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import Int32Array, Prefix, TokenizedPair
from zen_fast.fork_safety import renew_in_children

MAX_PREFIXES = 256
"""Prefixes kept, however small: each look-up compares with all of them."""

MIN_SAVED_TOKENS = 32
"""A prefix is computed where it saves at least as many tokens: less is not worth a pass."""

_EARLIER = -1
"""Index of the pair of an earlier call."""

Record = Callable[[TokenizedPair, Prefix | None], NDArray[np.float32]]
"""Tokens, and what is known of their beginning → keys and values of the rest."""

Share = tuple[list[int], Prefix | None]
"""Indices of pairs, and the prefix that all of them go on from."""


@dataclass(frozen=True)
class PrefixCacheStatistics:
    """What a prefix cache did since it was made, and what it holds now."""

    computed_tokens: int
    """Tokens of prefixes that were computed."""
    saved_tokens: int
    """Tokens of pairs that were not computed, because they belong to a prefix."""
    evictions: int
    num_prefixes: int
    used_bytes: int
    capacity_bytes: int


@dataclass
class SharingGroup:
    """Pairs to score together: their prefixes fit into the cache at once."""

    indices: list[int] = field(default_factory=list)
    prefixes: dict[int, Prefix] = field(default_factory=dict)
    """Of the pairs that continue one."""
    num_bytes: int = 0
    """Of the different prefixes."""

    def add(self, indices: Iterable[int], prefix: Prefix | None) -> None:
        """More pairs, which continue `prefix`."""
        self.indices.extend(indices)
        if prefix is not None:
            self.prefixes.update(dict.fromkeys(indices, prefix))
            self.num_bytes += prefix.keys_values.nbytes


class PrefixCache:
    """Token prefixes of one model, least recently used first to leave; safe under threads.

    Args:
        capacity_bytes: bound on the memory of keys and values; 0 shares nothing.
        bytes_per_token: of one token's keys and values.
        record: computes the keys and values of tokens.
        whole_heads: share a sequence's head or nothing.
    """

    def __init__(
        self, capacity_bytes: int, bytes_per_token: int, record: Record, whole_heads: bool = False
    ) -> None:
        self._capacity_tokens = capacity_bytes // bytes_per_token
        self._bytes_per_token = bytes_per_token
        self._record = record
        self._shares = self._shared_heads if whole_heads else self._shared_beginnings
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, Prefix] = OrderedDict()
        self._earlier_head: TokenizedPair | None = None
        self._counts = PrefixCacheStatistics(0, 0, 0, 0, 0, capacity_bytes)
        renew_in_children(self)

    def groups(self, pairs: Sequence[TokenizedPair]) -> Iterator[SharingGroup]:
        """All pairs in groups, each pair with the prefix that it should continue."""
        if self._capacity_tokens == 0:
            yield SharingGroup(list(range(len(pairs))))
            return
        group = SharingGroup()
        for indices, prefix in self._shares(pairs):
            size = 0 if prefix is None else prefix.keys_values.nbytes
            if group.num_bytes + size > self._capacity_tokens * self._bytes_per_token:
                yield group
                group = SharingGroup()
            group.add(indices, prefix)
            with self._lock:
                saved = self._counts.saved_tokens + len(indices) * len(prefix or ())
                self._counts = replace(self._counts, saved_tokens=saved)
        if group.indices:
            yield group

    def statistics(self) -> PrefixCacheStatistics:
        """Counters and size at this moment."""
        with self._lock:
            num_tokens = sum(map(len, self._entries.values()))
            return replace(
                self._counts,
                num_prefixes=len(self._entries),
                used_bytes=num_tokens * self._bytes_per_token,
            )

    def _shared_heads(self, pairs: Sequence[TokenizedPair]) -> Iterator[Share]:
        """Indices of pairs, and the head that they have in common if it is worth computing."""
        by_head: dict[bytes, list[int]] = {}
        for index, pair in enumerate(pairs):
            if 0 < pair.num_head_tokens < len(pair):
                head = pair.token_ids[: pair.num_head_tokens]
                by_head.setdefault(head.tobytes(), []).append(index)
            else:
                yield [index], None
        for members in by_head.values():
            first = pairs[members[0]]
            yield members, self._whole(first.part(slice(first.num_head_tokens)), len(members))

    def _whole(self, head: TokenizedPair, num_sharing: int) -> Prefix | None:
        with self._lock:
            known = self._entries.get(head.token_ids.tobytes())
            if known is not None:
                self._entries.move_to_end(head.token_ids.tobytes())
                return known
        is_worthwhile = len(head) * (num_sharing - 1) >= MIN_SAVED_TOKENS
        if not is_worthwhile or len(head) > self._capacity_tokens:
            return None
        prefix = Prefix(head.token_ids, self._record(head, None))
        self._keep(prefix, len(head))
        return prefix

    def _shared_beginnings(self, pairs: Sequence[TokenizedPair]) -> Iterator[Share]:
        """Indices of pairs, and the longest prefix that all of them go on from.

        Sorted, the pairs are the leaves of a tree of beginnings: instruction, then query. A
        beginning is computed where enough pairs share what it adds to its parent. The last pair of
        the call before is a leaf too, up to its document: what comes twice will come again.
        """
        with self._lock:
            earlier = [] if self._earlier_head is None else [self._earlier_head]
            if pairs:
                self._earlier_head = _head(pairs[-1])
        leaves = [*enumerate(pairs), *((_EARLIER, pair) for pair in earlier)]
        leaves.sort(key=lambda leaf: leaf[1].token_ids.astype(">i4").tobytes())
        common = [0, *(_num_shared(a, b) for (_, a), (_, b) in pairwise(leaves))]
        ranges = [(0, len(leaves))] if pairs else []
        while ranges:
            first, last = ranges.pop()
            shared = leaves[first][1].part(slice(min(common[first + 1 : last], default=-1)))
            prefix = self._prefix(shared, last - first)
            starts = [i for i in range(first + 1, last) if common[i] == len(shared)]
            children = list(pairwise([first, *starts, last]))
            ranges += [(start, end) for start, end in children if end - start > 1]
            alone = [leaves[start][0] for start, end in children if end - start == 1]
            if members := [index for index in alone if index != _EARLIER]:
                yield members, prefix

    def _prefix(self, shared: TokenizedPair, num_sharing: int) -> Prefix | None:
        """The longest prefix of `shared` that is known or worth computing."""
        shared = shared.part(slice(self._capacity_tokens))
        known = self._longest_known(shared.token_ids)
        num_known = 0 if known is None else len(known)
        if (len(shared) - num_known) * (num_sharing - 1) < MIN_SAVED_TOKENS:
            return known
        fresh = self._record(shared, known)
        keys_values = fresh if known is None else np.concatenate((known.keys_values, fresh))
        prefix = Prefix(shared.token_ids, keys_values)
        self._keep(prefix, len(fresh))
        return prefix

    def _longest_known(self, token_ids: Int32Array) -> Prefix | None:
        with self._lock:
            lengths = {
                key: num_common(entry.token_ids, token_ids) for key, entry in self._entries.items()
            }
            best = max(lengths, key=lengths.__getitem__, default=None)
            if best is None or lengths[best] == 0:
                return None
            self._entries.move_to_end(best)
            return self._entries[best].part(lengths[best])

    def _keep(self, prefix: Prefix, num_computed: int) -> None:
        with self._lock:
            self._entries[prefix.token_ids.tobytes()] = prefix
            num_tokens = sum(map(len, self._entries.values()))
            evictions = self._counts.evictions
            while num_tokens > self._capacity_tokens or len(self._entries) > MAX_PREFIXES:
                num_tokens -= len(self._entries.popitem(last=False)[1])
                evictions += 1
            computed = self._counts.computed_tokens + num_computed
            self._counts = replace(self._counts, computed_tokens=computed, evictions=evictions)

    def _start_anew(self) -> None:
        """Forget everything, the lock included: a fork may have cut _keep() in two."""
        self._lock = threading.Lock()
        self._entries = OrderedDict()


def _head(pair: TokenizedPair) -> TokenizedPair:
    """What comes before a pair's document, and a token of that; all where this is not known."""
    return pair.part(slice(pair.num_head_tokens + 1)) if pair.num_head_tokens else pair


def _num_shared(first: TokenizedPair, second: TokenizedPair) -> int:
    """Length of the longest common beginning that leaves both a token of their own."""
    length = min(len(first), len(second)) - 1
    return num_common(first.token_ids[:length], second.token_ids[:length])


def num_common(first: Int32Array, second: Int32Array) -> int:
    """Length of the common beginning of two lists of ids."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
