"""`zen-fast quantize`: write a model as an int8 checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from zen_fast.command_line import run_command

_EPILOG = """\
examples:
  zen-fast quantize zen-mini zen-mini-int8/
  zen-fast quantize cross-encoder/ms-marco-MiniLM-L6-v2 minilm-int8/
  zen-fast rerank --model zen-mini-int8/ --query "what causes climate change" passages.txt

The folder loads like any model, with precision "auto": a third of the memory, and nothing to
quantize at start. ZenReranker.from_pretrained(MODEL, precision="int8") gives the same scores.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="zen-fast quantize",
        description="Write a model as an int8 checkpoint: 8-bit projections, fp16 embeddings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="zen-mini, a local folder, or a hub id")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write; must be new")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _quantize(arguments.model, arguments.out))


def _quantize(model: str, out: Path) -> int:
    from zen_fast.assembling import answering, kept_layers, read_prompt
    from zen_fast.checkpoint import load_checkpoint
    from zen_fast.checkpoint.quantized import save_quantized
    from zen_fast.sentence_transformers_settings import read_settings
    from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

    checkpoint = load_checkpoint(model)
    kept: tuple[int, ...] = ()
    if checkpoint.spec.causal or checkpoint.vocabulary is not None:
        folder = checkpoint.folder
        stock = load_stock_tokenizer(folder, checkpoint.config, checkpoint.tokenizer_config)
        prompt = read_prompt(model, checkpoint, stock, read_settings(folder))
        if checkpoint.vocabulary is not None:
            checkpoint = answering(checkpoint, prompt)
        if not checkpoint.weights.is_quantized:
            kept = kept_layers(checkpoint, stock, prompt)
    num_bytes = save_quantized(checkpoint, model, out, kept)
    in_fp32 = f", layers {', '.join(map(str, kept))} in fp32" if kept else ""
    print(f"wrote {out}: weights of {num_bytes / 1e6:.1f} MB{in_fp32}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
