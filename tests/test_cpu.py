"""The CPU backend: choice of kernels, recorded memory, bad ids, threads and forks."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zen_fast.backends.cpu import ISA_VARIABLE, CpuBackend, available_isas, choose_isa
from zen_fast.backends.memory_plan import MemoryPlan
from zen_fast.backends.recording import Recorder
from zen_fast.batching import PackedBatch, TokenizedPair, pack
from zen_fast.encoder import Encoder
from zen_fast.errors import InvalidArgumentError, UnsupportedDeviceError
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec
from zen_fast.weights import Weights, parameter_shapes

SPEC = EncoderSpec(
    architecture="bert",
    vocab_size=40,
    hidden_size=24,
    num_heads=3,
    intermediate_size=50,
    max_length=64,
    layers=(LayerSpec(),) * 3,
    head=HeadSpec(num_labels=2),
    num_token_types=2,
    num_positions=64,
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    random = np.random.default_rng(7)
    tensors = {
        name: random.normal(size=shape).astype(np.float32) * 0.3
        for name, shape in parameter_shapes(SPEC).items()
    }
    return Encoder(SPEC, Weights(tensors, SPEC.norm_eps))


def _batch(lengths: list[int], seed: int = 0) -> PackedBatch:
    random = np.random.default_rng(seed)
    pairs = [
        TokenizedPair(
            random.integers(0, SPEC.vocab_size, length).astype(np.int32),
            random.integers(0, 2, length).astype(np.int32),
        )
        for length in lengths
    ]
    return pack(pairs, SPEC)


def test_available_isas_start_with_scalar() -> None:
    assert available_isas()[0] == "scalar"


@pytest.mark.parametrize("isa", available_isas())
def test_choose_isa_obeys_the_environment(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA_VARIABLE, isa)
    assert choose_isa() == isa


@pytest.mark.parametrize("isa", available_isas())
def test_forced_isa_is_what_the_kernels_report(isa: str, encoder: Encoder) -> None:
    assert CpuBackend(encoder, isa=isa)._program.isa == isa


@pytest.mark.parametrize("name", ["", "AVX2", "avx1024"])
def test_choose_isa_refuses_unknown_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA_VARIABLE, name)
    with pytest.raises(UnsupportedDeviceError, match="scalar"):
        choose_isa()


def test_num_threads_must_be_positive(encoder: Encoder) -> None:
    with pytest.raises(InvalidArgumentError, match="num_threads is 0"):
        CpuBackend(encoder, num_threads=0)


def test_last_layer_computes_only_the_rows_that_the_head_reads(encoder: Encoder) -> None:
    recorder = Recorder()
    encoder.logits(recorder)
    attentions = [i.output for i in recorder.instructions if i.name == "attention"]
    assert [output.axis for output in attentions if output] == ["tokens", "tokens", "sequences"]
    after_last = recorder.instructions[-6:]
    assert all(i.output is not None and i.output.axis == "sequences" for i in after_last)


def test_memory_plan_uses_released_places_again() -> None:
    plan = MemoryPlan()
    first, second = plan.take(10), plan.take(5)
    assert (first, second) == (0, 10)
    plan.release(first)
    assert plan.take(12) == 15
    assert plan.take(4) == 0
    assert plan.take(6) == 4


@pytest.mark.parametrize("bad_id", [-1, 40])
def test_forward_refuses_ids_beyond_the_table(bad_id: int, encoder: Encoder) -> None:
    batch = _batch([5, 3])
    batch.token_ids[6] = bad_id
    with pytest.raises(IndexError, match=rf"token_ids\[6\] is {bad_id}; the table has 40 rows"):
        CpuBackend(encoder).forward(batch)


def test_forward_refuses_sequences_beyond_max_length(encoder: Encoder) -> None:
    batch = _batch([64])
    longer = PackedBatch(
        *(np.append(ids, np.int32(0)) for ids in (batch.token_ids, batch.token_type_ids)),
        position_ids=np.append(batch.position_ids, np.int32(0)),
        cu_seqlens=np.array([0, 65], np.int32),
        head_lengths=batch.head_lengths,
    )
    with pytest.raises(ValueError, match="max_length"):
        CpuBackend(encoder).forward(longer)


@pytest.mark.parametrize("isa", available_isas())
def test_logits_are_the_same_bits_for_any_number_of_threads(isa: str, encoder: Encoder) -> None:
    lengths = [64, 1, 30, 30, 2, 17] * 12
    expected = CpuBackend(encoder, num_threads=1, isa=isa).forward(_batch(lengths))
    for num_threads in (2, 3, 5):
        backend = CpuBackend(encoder, num_threads=num_threads, isa=isa)
        np.testing.assert_array_equal(backend.forward(_batch(lengths)), expected)
        np.testing.assert_array_equal(backend.forward(_batch(lengths[:1])), expected[:1])


def test_forward_from_many_threads_gives_each_caller_its_own(encoder: Encoder) -> None:
    backend = CpuBackend(encoder, num_threads=2)
    batches = [_batch([9, 33, 20], seed) for seed in range(8)]
    expected = [backend.forward(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for actual, logits in zip(pool.map(backend.forward, batches), expected, strict=True):
                np.testing.assert_array_equal(actual, logits)


def _forked_forward(backend: CpuBackend, batch: PackedBatch) -> object:
    """What a forked child gets for `batch`; fails where it takes a minute."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(backend.forward(batch)))
    child.start()
    child.join(timeout=60)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    return answers.get()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while a thread scores"])
def test_forward_works_in_a_forked_child(busy: bool, encoder: Encoder) -> None:
    backend = CpuBackend(encoder, num_threads=2)
    batch = _batch([64] * 20)
    expected = backend.forward(batch)  # starts the threads that a fork leaves behind
    stop = threading.Event()

    def keep_scoring() -> None:
        while not stop.is_set():
            backend.forward(batch)

    scoring = threading.Thread(target=keep_scoring)
    if busy:
        scoring.start()
    try:
        for _ in range(5 if busy else 1):
            np.testing.assert_array_equal(_forked_forward(backend, batch), expected)
    finally:
        stop.set()
        if busy:
            scoring.join()
