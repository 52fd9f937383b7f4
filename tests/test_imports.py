"""The CPU path stays light: what it imports, and how soon it scores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiny_rerankers import save_reranker

import zen_fast

HEAVY = ("torch", "transformers", "huggingface_hub", "tqdm", "rich", "sentence_transformers")


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running `code`."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(zen_fast.__file__).parents[1],
    )
    return {name.split(".")[0] for name in process.stdout.split()}


def test_import_zen_fast_does_no_work() -> None:
    modules = modules_after("import zen_fast")
    assert not modules & {"numpy", "tokenizers", "safetensors", *HEAVY}


def test_scoring_on_cpu_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    folder = save_reranker(tmp_path)
    modules = modules_after(
        "from zen_fast import ZenReranker\n"
        f"reranker = ZenReranker.from_pretrained({str(folder)!r}, num_threads=1)\n"
        "assert len(reranker.rerank('a query', ['a document', 'another'])) == 2\n"
        "assert len(reranker.predict([('a query', 'a document')])) == 1"
    )
    assert "numpy" in modules
    assert not modules & set(HEAVY)


def test_help_imports_no_engine() -> None:
    modules = modules_after("from zen_fast.cli import main; main(['--help'])")
    assert not modules & {"numpy", "tokenizers", *HEAVY}
