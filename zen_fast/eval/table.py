"""The comparison for people: tables that a terminal and Markdown show alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table

from zen_fast.eval.metrics import relative_change
from zen_fast.eval.quality import CollectionQuality, RankingQuality
from zen_fast.eval.significance import Comparison, compare_paired

Results = Sequence[CollectionQuality]
Rankings = Sequence[RankingQuality]


@dataclass(frozen=True)
class Sheet:
    """A table: the first column is of words, the others of figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    summary: tuple[str, ...] = ()
    """The last row; empty for none."""

    def print(self, console: Console) -> None:
        """Show it on a terminal."""
        table = Table(self.headings[0], title=self.title)
        for heading in self.headings[1:]:
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(*row)
        if self.summary:
            table.add_section()
            table.add_row(*self.summary)
        console.print(table)

    def markdown(self) -> str:
        """As a Markdown table under its title."""
        alignment = ("---", *("--:" for _ in self.headings[1:]))
        rows = [self.headings, alignment, *self.rows, *([self.summary] if self.summary else [])]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join((f"**{self.title}**", "", *lines, ""))


def sheets(results: Results) -> list[Sheet]:
    """Every table of an evaluation."""
    by_stage = _by_first_stage(results)
    made = []
    for stage, each in by_stage.items():
        made += [_quality_sheet(stage, each), _gain_sheet(stage, each)]
        made += [_agreement_sheet(each, place) for place in range(1, len(each[0].columns))]
    made.append(_pipeline_sheet(by_stage))
    return made


def mean_relative_change(results: Results, place: int) -> float:
    """Change of the collections' mean nDCG@10 from the first column to another, in percent."""
    return relative_change(_mean(results, place), _mean(results, 0))


def _by_first_stage(results: Results) -> dict[str, list[CollectionQuality]]:
    by_stage: dict[str, list[CollectionQuality]] = {}
    for result in results:
        by_stage.setdefault(result.candidates, []).append(result)
    return by_stage


def _mean(results: Results, place: int) -> float:
    return fmean(result.columns[place].ndcg_at_10 for result in results)


def _quality_sheet(stage: str, results: Results) -> Sheet:
    """No reranking and each reranker, with what a query costs."""
    names = [column.name for column in results[0].columns]
    depth = max(result.depth for result in results)
    what = "the judged documents" if stage == "judged" else f"the top {depth} of {stage}"
    rows = []
    for result in results:
        figures = (f"{column.ndcg_at_10:.2f}" for column in result.columns)
        rows.append(
            (
                _label(result),
                f"{result.num_queries}",
                f"{result.first_stage:.2f}",
                *figures,
                " / ".join(_ms(column.p50_ms) for column in result.columns),
                " / ".join(_ms(column.p99_ms) for column in result.columns),
            )
        )
    first_stage = fmean(result.first_stage for result in results)
    means = (f"{_mean(results, place):.2f}" for place in range(len(names)))
    return Sheet(
        f"Reranking {what}: nDCG@10 x 100, and ms per query",
        ("collection", "queries", "no reranking", *names, "ms p50", "ms p99"),
        tuple(rows),
        ("mean", "", f"{first_stage:.2f}", *means, "", ""),
    )


def _gain_sheet(stage: str, results: Results) -> Sheet:
    """What reranking adds, collection by collection."""
    columns = range(len(results[0].columns))
    means = (
        _over([each.retrieval for each in results], [each.columns[place] for each in results])
        for place in columns
    )
    return Sheet(
        f"Points of nDCG@10 that reranking adds to {stage} [95 % interval; p]",
        ("collection", *(column.name for column in results[0].columns)),
        tuple(
            (_label(result), *(_compared(column.gain) for column in result.columns))
            for result in results
        ),
        ("mean", *means),
    )


def _agreement_sheet(results: Results, place: int) -> Sheet:
    """A later column against the first, such as int8 against fp32."""
    first, name = (results[0].columns[each].name for each in (0, place))
    rows = []
    for result in results:
        column = result.columns[place]
        rows.append(
            (
                _label(result),
                f"{column.relative_change:+.2f} %",
                _compared(column.against_first),
                f"{column.max_abs_logit_difference:.2f}",
                f"{column.kendall_tau:.4f}",
            )
        )
    mean = _over([each.columns[0] for each in results], [each.columns[place] for each in results])
    return Sheet(
        f"{name} against {first}, {results[0].candidates}",
        ("collection", "change of nDCG@10", "points [95 %; p]", "max |Δlogit|", "Kendall τ"),
        tuple(rows),
        ("mean", f"{mean_relative_change(results, place):+.2f} %", mean, "", ""),
    )


def _pipeline_sheet(by_stage: dict[str, list[CollectionQuality]]) -> Sheet:
    """Each retriever alone against each pipeline, as means over the collections."""
    first_stage, baseline = next(iter(by_stage.items()))
    rows: list[tuple[str, ...]] = []
    systems: list[tuple[str, Rankings, Rankings | None, Rankings | None]]
    """Its name, its rankings, and the two that they are compared with."""
    for stage, results in by_stage.items():
        recall = f"{fmean(result.recall_at_depth for result in results):.2f}"
        paired = [each.query_ids for each in results] == [each.query_ids for each in baseline]
        first_alone = [each.retrieval for each in baseline]
        alone = [each.retrieval for each in results]
        systems = [(stage, alone, first_alone if stage != first_stage else None, None)]
        for place, column in enumerate(results[0].columns):
            same = [each.columns[place] for each in baseline] if stage != first_stage else None
            reranked = [each.columns[place] for each in results]
            systems.append((f"{stage} → {column.name}", reranked, first_alone, same))
        for system, rankings, *others in systems:
            compared = (_over(each, rankings) if each and paired else "–" for each in others)
            figures = (*_mean_measures(rankings), recall, *_mean_times(rankings))
            rows.append((system, *figures, *compared))
    return Sheet(
        "Retriever alone and pipeline: means over the collections; ms of the last stage",
        (
            "system",
            "nDCG@10",
            "MRR@10",
            "recall@10",
            "recall of candidates",
            "ms p50",
            "ms p99",
            f"nDCG@10 over {first_stage} [95 %; p]",
            f"over {first_stage} → the same reranker",
        ),
        tuple(rows),
    )


def _over(first: Rankings, second: Rankings) -> str:
    """How the second ranking of each collection compares with the first."""
    pairs = zip(first, second, strict=True)
    return _compared(compare_paired([(a.query_ndcg, b.query_ndcg) for a, b in pairs]))


def _mean_measures(rankings: Rankings) -> Iterable[str]:
    for name in ("ndcg_at_10", "mrr_at_10", "recall_at_10"):
        yield f"{fmean(getattr(ranking, name) for ranking in rankings):.2f}"


def _mean_times(rankings: Rankings) -> Iterable[str]:
    for name in ("p50_ms", "p99_ms"):
        times = [getattr(ranking, name) for ranking in rankings]
        yield _ms(None if None in times else fmean(times))


def _compared(comparison: Comparison) -> str:
    p = comparison.p_value
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}; {shown}]"


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:,.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"


def _label(result: CollectionQuality) -> str:
    return f"{result.collection} {result.split}"
