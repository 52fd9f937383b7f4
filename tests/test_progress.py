from __future__ import annotations

import sys

import pytest

from zen_fast import progress
from zen_fast.progress import ProgressBar


def run_through(bar: ProgressBar, num_steps: int = 4) -> None:
    with bar:
        for _ in range(num_steps):
            bar.advance(1)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stderr look like a terminal, whatever pytest puts in its place."""
    monkeypatch.setattr("zen_fast.progress.is_terminal", lambda: True)


@pytest.mark.usefixtures("terminal")
def test_progress_short_work_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run_through(ProgressBar(4, show=None))
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
def test_progress_long_work_on_a_terminal_shows_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SHOW_AFTER_SECONDS", -1.0)
    run_through(ProgressBar(4, show=None))
    assert "4/4" in capsys.readouterr().err


def test_progress_long_work_elsewhere_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SHOW_AFTER_SECONDS", -1.0)
    run_through(ProgressBar(4, show=None))
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
def test_progress_show_decides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_through(ProgressBar(4, show=True))
    assert "4/4" in capsys.readouterr().err
    monkeypatch.setattr(progress, "SHOW_AFTER_SECONDS", -1.0)
    run_through(ProgressBar(4, show=False))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stderr", [None, object()], ids=["none", "without isatty"])
def test_progress_without_a_proper_stderr_shows_nothing(
    stderr: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SHOW_AFTER_SECONDS", -1.0)
    monkeypatch.setattr(sys, "stderr", stderr)
    run_through(ProgressBar(4, show=None))
    if stderr is None:
        run_through(ProgressBar(4, show=True))


def test_progress_nothing_to_do_shows_nothing_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_through(ProgressBar(0, show=None), num_steps=0)
    assert capsys.readouterr().err == ""
