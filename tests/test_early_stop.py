"""Early stopping: what it believes, when it stops, and how it is fitted and kept."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_rerankers import save_reranker
from tiny_tokenizers import SENTENCES

from zen_fast import ZenReranker
from zen_fast.candidates import Request
from zen_fast.checkpoint.location import EMBEDDED_MODELS_FOLDER
from zen_fast.cli import main
from zen_fast.early_stop import run, storing
from zen_fast.early_stop.calibrating import calibrate
from zen_fast.early_stop.calibration import (
    Allowance,
    Calibration,
    LayerProbe,
    QueryScale,
    RankModel,
)
from zen_fast.early_stop.fitting import fit_probe, fit_ranks
from zen_fast.early_stop.planning import EarlyStop
from zen_fast.early_stop.sample import ScoredList
from zen_fast.early_stop.search import TopKSearch
from zen_fast.early_stop.simulation import layer_costs, replay
from zen_fast.early_stop.storing import (
    FILE_NAME,
    checkpoint_fingerprint,
    load_calibration,
    save_calibration,
)
from zen_fast.errors import CheckpointError
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec

NUM_CANDIDATES, NUM_FEATURES = 60, 6
SPEC = EncoderSpec(
    architecture="bert",
    vocab_size=10,
    hidden_size=2,
    num_heads=1,
    intermediate_size=4,
    max_length=16,
    layers=(LayerSpec(),) * 6,
    head=HeadSpec(num_labels=1),
)


def scored_lists(num_lists: int, seed: int, noise: float = 0.5) -> list[ScoredList]:
    """Lists whose logits fall with the rank, and whose features tell them but for `noise`."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0).normal(size=NUM_FEATURES)
    lists = []
    for index in range(num_lists):
        features = rng.normal(size=(NUM_CANDIDATES, NUM_FEATURES))
        logits = features @ truth - 1.5 * np.log(np.arange(NUM_CANDIDATES) + 2.0)
        logits += rng.normal(size=NUM_CANDIDATES) * noise + rng.normal() * 5
        lists.append(
            ScoredList(
                f"collection {index % 5}",
                logits.astype(np.float32),
                {1: features.astype(np.float16)},
                rng.integers(20, 60, NUM_CANDIDATES),
            )
        )
    return lists


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(scored_lists(60, seed=1), SPEC, "no checkpoint")


def _search(calibration: Calibration, **changed: float) -> TopKSearch:
    allowance = Allowance(k=5, share=0.9, wave=10, breadth=0.05, depth=0.1)
    return TopKSearch(calibration, replace(allowance, **changed), NUM_CANDIDATES, 5)


def test_rank_model_is_the_share_of_logits_above_a_level() -> None:
    lists = scored_lists(50, seed=2)
    ranks = fit_ranks(lists)
    standardized = np.array(
        [(each.logits - each.logits.mean()) / each.logits.std() for each in lists]
    )
    plain = QueryScale(mean=0.0, deviation=1.0, trend=1.0)
    chances = ranks.chance_above(np.array([0, 3, NUM_CANDIDATES + 100]), 0.5, plain)
    assert chances[0] == pytest.approx((standardized[:, 0] > 0.5).mean(), abs=0.05)
    last = int(ranks.first_ranks[-1])
    assert chances[2] == pytest.approx((standardized[:, last:] > 0.5).mean(), abs=0.05)
    assert chances[0] > chances[1] > chances[2]


def test_ranks_that_never_differ_leave_a_model_that_can_be_asked() -> None:
    twice = scored_lists(1, seed=6) * 2
    pairs = [replace(each, logits=each.logits[:2]) for each in twice]
    ranks = fit_ranks(pairs)
    assert not ranks.deviations.any()
    scale = ranks.scale_of(np.arange(2), np.array([2.0, 1.0]))
    assert np.isfinite([scale.mean, scale.deviation, scale.trend]).all()


@pytest.mark.parametrize("trend", [0.0, 1.0, 2.0])
def test_scale_of_a_query_is_told_by_its_first_waves(trend: float) -> None:
    ranks = replace(fit_ranks(scored_lists(300, seed=2)), trend_deviation=1.0)
    rng = np.random.default_rng(5)
    every = np.arange(NUM_CANDIDATES)
    group = ranks.group(every)
    scales, unseen_above = [], []
    for _ in range(200):
        noise = rng.normal(size=NUM_CANDIDATES) * ranks.deviations[group]
        logits = 7.0 + 3.0 * (trend * ranks.means[group] + noise)
        scale = ranks.scale_of(every[:30], logits[:30])
        scales.append((scale.deviation, scale.trend))
        expected = ranks.chance_above(every[30:], 8.0, scale).sum()
        unseen_above.append((expected, (logits[30:] > 8.0).sum()))
    deviation, found = np.mean(scales, axis=0)
    assert found == pytest.approx(trend, abs=0.2)
    assert deviation == pytest.approx(3.0, rel=0.2)
    expected, counted = np.mean(unseen_above, axis=0)
    assert expected == pytest.approx(counted, rel=0.2)


def test_probe_errors_are_those_on_collections_it_has_not_seen() -> None:
    lists = scored_lists(300, seed=3, noise=0.7)
    fitted = fit_probe(lists, 1)
    low, high = fitted.probe.errors[[32, 168]]  # 16 and 84 percent
    assert (high - low) / 2 == pytest.approx(0.7, rel=0.1)
    fresh = scored_lists(1, seed=4, noise=0.0)[0]
    guesses = fitted.probe.guess(fresh.features[1].astype(np.float32), np.arange(NUM_CANDIDATES))
    assert np.corrcoef(guesses, fresh.logits)[0, 1] > 0.97


def test_waves_follow_the_first_stage_until_the_top_is_settled(calibration: Calibration) -> None:
    logits = scored_lists(1, seed=5)[0].logits
    waves = []
    search = _search(calibration, depth=0.0)
    while wave := search.next_wave():
        waves.append(wave)
        search.add(np.array(wave), logits[wave.start : wave.stop])
    assert waves == [range(start, start + 10) for start in range(0, 10 * len(waves), 10)]
    assert 1 <= len(waves) < NUM_CANDIDATES / 10
    patient = _search(calibration, depth=0.0, breadth=0.0)
    while wave := patient.next_wave():
        patient.add(np.array(wave), logits[wave.start : wave.stop])
    assert wave == range(0)
    assert patient.probe_layers == 0


def test_an_outstanding_list_is_settled_sooner_than_an_even_one(calibration: Calibration) -> None:
    def num_scored(logits: np.ndarray) -> int:
        search = _search(calibration, depth=0.0, breadth=0.02)
        while wave := search.next_wave():
            search.add(np.array(wave), logits[wave.start : wave.stop].astype(np.float32))
        return search._next

    rng = np.random.default_rng(6)
    even = rng.normal(size=NUM_CANDIDATES)
    outstanding = even * 0.1
    outstanding[:5] += 10
    assert num_scored(outstanding) < num_scored(even)


def test_hopeless_gives_up_the_least_likely_within_the_budget(calibration: Calibration) -> None:
    assert calibration.probe is not None
    guesses = -np.arange(NUM_CANDIDATES, dtype=float) / 5
    indices = np.arange(NUM_CANDIDATES)
    shares = []
    for depth in (0.01, 0.1, 0.4):
        given_up = _search(calibration, depth=depth).judge(indices, guesses)
        assert not given_up[:5].any()
        first = int(np.argmax(given_up))
        assert given_up[first:].all()
        expected = calibration.probe.chance_above(guesses[4] - guesses[given_up]).sum()
        assert expected <= depth * 5
        shares.append(given_up.mean())
    assert shares == sorted(shares)
    assert shares[0] > 0


def test_calibrated_allowances_keep_their_share_on_new_lists_and_save_work(
    calibration: Calibration,
) -> None:
    probe = calibration.probe
    assert probe is not None
    costs = layer_costs(SPEC.num_layers, last_reads_first_rows=True)
    new = scored_lists(200, seed=7)
    spent = []
    for share in (0.8, 0.9, 0.95, 0.99):
        allowance = calibration.allowance(10, share)
        assert allowance is not None
        assert allowance.share >= share
        replays = [
            replay(
                each,
                calibration,
                allowance,
                probe.guess(each.features[1].astype(np.float32), np.arange(NUM_CANDIDATES)),
                costs,
            )
            for each in new
        ]
        assert np.mean([each.overlap for each in replays]) >= share
        spent.append(float(np.mean([each.cost for each in replays])))
    assert spent == sorted(spent)
    assert spent[0] < 0.6


def test_allowance_between_two_calibrated_k_is_the_stricter(calibration: Calibration) -> None:
    five, ten = calibration.allowance(5, 0.9), calibration.allowance(10, 0.9)
    assert five is not None
    assert ten is not None
    between = calibration.allowance(7, 0.9)
    assert between in (five, ten)
    assert calibration.allowance(10, 0.9999) is None
    assert calibration.allowance(10_000, 0.5) is None


def test_calibration_without_states_has_no_probe() -> None:
    lists = [replace(each, features={}) for each in scored_lists(30, seed=8)]
    calibration = calibrate(lists, SPEC, "no checkpoint")
    assert calibration.probe is None
    assert calibration.allowances
    assert all(each.depth == 0 for each in calibration.allowances)


def test_stored_calibration_is_read_back(calibration: Calibration, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    own = replace(calibration, fingerprint=checkpoint_fingerprint(tmp_path))
    path = tmp_path / FILE_NAME
    save_calibration(own, path)
    read = load_calibration(path, tmp_path)
    assert read.allowances == own.allowances
    assert read.fitted_on == own.fitted_on
    for mine, theirs in ((read.ranks, own.ranks), (read.probe, own.probe)):
        assert isinstance(mine, RankModel | LayerProbe)
        for name, value in vars(theirs).items():
            np.testing.assert_allclose(getattr(mine, name), value, rtol=1e-4)
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".part"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ('{"format": 7}', "format 7"),
        ('{"format": 2}', "no calibration"),
        (None, "other weights"),
    ],
)
def test_a_calibration_that_cannot_be_used_says_why(
    content: str | None, message: str, calibration: Calibration, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    save_calibration(calibration, path)
    if content is not None:
        path.write_text(content)
    with pytest.raises(CheckpointError, match=message):
        EarlyStop(tmp_path, None, can_pause=True).plan(100, 10, 0.9)


def test_plan_says_why_everything_is_scored(calibration: Calibration, tmp_path: Path) -> None:
    planner = EarlyStop(tmp_path, None, can_pause=True)
    command = f"zen-fast calibrate {tmp_path} --data FOLDER"
    assert planner.plan(100, 10, 0.9)[1] == f"not calibrated: run {command}"
    save_calibration(
        replace(calibration, fingerprint=checkpoint_fingerprint(tmp_path)), tmp_path / FILE_NAME
    )
    planner = EarlyStop(tmp_path, None, can_pause=True)
    assert planner.plan(10, 10, 0.9) == (None, "all 10 candidates are asked for")
    assert planner.plan(10, None, 0.9) == (None, "all 10 candidates are asked for")
    assert "keeps 0.9999 of the top 10" in planner.plan(100, 10, 0.9999)[1]
    search, why = planner.plan(100, 10, 0.9)
    assert (type(search), why) == (TopKSearch, "")
    with pytest.raises(CheckpointError, match="there is no calibration"):
        EarlyStop(tmp_path, tmp_path / "absent.json", can_pause=True)
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match=f"fitted to other weights.*: run {command}$"):
        EarlyStop(tmp_path, tmp_path / FILE_NAME, can_pause=True)


def test_loading_the_calibration_does_not_count_towards_the_first_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = [f"{sentence} {index}" for index in range(4) for sentence in SENTENCES]
    reranker = ZenReranker.from_pretrained(num_threads=1)
    reranker.rerank("water", documents, k=1, deadline_ms=60_000)  # teaches the machine's pace
    fingerprint = storing.checkpoint_fingerprint

    def slow_fingerprint(folder: Path) -> str:
        time.sleep(0.5)
        return fingerprint(folder)

    monkeypatch.setattr(storing, "checkpoint_fingerprint", slow_fingerprint)
    work = reranker.rerank("water", documents, k=1, early_stop=0.9, deadline_ms=400).work
    assert work.num_scored > 0


def test_calibration_scores_what_rerank_does_with_a_default_prompt(tmp_path: Path) -> None:
    pytest.importorskip("bm25s")
    pytest.importorskip("rich")
    folder = save_reranker(tmp_path / "model")
    settings = {
        "model_type": "CrossEncoder",
        "prompts": {"web": "water mill "},
        "default_prompt_name": "web",
    }
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    (folder / "modules.json").write_text('[{"type": "Transformer", "path": ""}]')
    reranker = ZenReranker.from_pretrained(folder, num_threads=1, activation="identity")
    request = Request("q", "a query", ("0", "1", "2"), tuple(SENTENCES[:3]))
    scored = run._score(reranker, "collection", request)
    np.testing.assert_array_equal(scored.logits, reranker.score(request.query, request.documents))
    plain = reranker.engine.logits([request.query] * 3, request.documents)[:, 0]
    assert not np.array_equal(scored.logits, plain)


@pytest.mark.parametrize("by_path", [False, True])
def test_calibrate_command_keeps_what_ships_with_the_package(
    by_path: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bm25s")
    pytest.importorskip("rich")
    model = str(EMBEDDED_MODELS_FOLDER / "zen-mini") if by_path else "zen-mini"
    assert main(["calibrate", model, "--data", "no-such-folder"]) == 2
    message = capsys.readouterr().err
    assert "zen-mini ships with the package" in message
    assert "--out FILE" in message
    assert 'calibration="FILE"' in message


def test_calibrate_command_fits_a_model_that_then_stops_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bm25s")
    pytest.importorskip("rich")
    folder = save_reranker(tmp_path / "model")
    data = tmp_path / "tiny"
    (data / "qrels").mkdir(parents=True)
    rng = np.random.default_rng(0)
    words = np.array(" ".join(SENTENCES[:2] + SENTENCES[7:]).split())
    with (data / "corpus.jsonl").open("w") as corpus:
        for index in range(80):
            text = " ".join(rng.choice(words, 30))
            corpus.write(json.dumps({"_id": f"d{index}", "title": "", "text": text}) + "\n")
    with (
        (data / "queries.jsonl").open("w") as queries,
        (data / "qrels/test.tsv").open("w") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for index in range(12):
            text = " ".join(rng.choice(words, 6))
            queries.write(json.dumps({"_id": f"q{index}", "text": text}) + "\n")
            qrels.write(f"q{index}\td{index}\t1\n")
    arguments = ["calibrate", str(folder), "--data", str(data), "--queries", "12", "--threads", "1"]
    assert main(arguments) == 0
    assert "early_stop" in capsys.readouterr().out
    reranker = ZenReranker.from_pretrained(folder, num_threads=1)
    documents = [" ".join(rng.choice(words, 30)) for _ in range(70)]
    exact = reranker.rerank(documents[0], documents)
    partial = reranker.rerank(documents[0], documents, early_stop=0.5)
    assert exact.work.num_scored == 70
    assert partial.work.num_scored + partial.work.num_given_up <= 70
    assert partial.work.is_partial
    assert partial.work.stopped in ("settled", "complete")
    by_index = {document.index: document.score for document in exact}
    for document in partial:
        if document.index in by_index:
            assert document.score == by_index[document.index]
    both = reranker.batch_rerank(documents[:2], [documents] * 2, early_stop=0.5)
    for query, batched in zip(documents, both, strict=False):
        alone = reranker.rerank(query, documents, early_stop=0.5)
        assert [each.index for each in batched] == [each.index for each in alone]
    assert main(["calibrate", str(folder), "--data", str(tmp_path / "absent")]) == 2
