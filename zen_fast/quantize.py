"""`zen-fast quantize`: write a model as an int8 checkpoint, or rounded to what int8 holds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zen_fast.command_line import CommandParser, run_command
from zen_fast.errors import InvalidArgumentError, MissingDependencyError
from zen_fast.extras import install
from zen_fast.out_folder import require_writable
from zen_fast.progress import ProgressBar

if TYPE_CHECKING:
    from zen_fast.checkpoint import Checkpoint
    from zen_fast.weights import Array

_NUM_QUERIES = 64
_DEPTH = 8
_SEED = 0
_MAX_TOKENS = 512

_EPILOG = """\
examples:
  zen-fast quantize zen-mini zen-mini-int8/
  zen-fast quantize cross-encoder/ms-marco-MiniLM-L6-v2 minilm-int8/
  zen-fast quantize --texts stdlib data/squad:train --rounded my-model/ my-rounded-model/
  zen-fast rerank --model zen-mini-int8/ --query "what causes climate change" passages.txt

The folder loads like any model, with precision "auto": a third of the memory, and nothing to
quantize at start. ZenReranker.from_pretrained(MODEL, precision="int8") gives the same scores,
unless --texts was given, whose products are nearer to the model's.

With --rounded the folder is an ordinary one in the model's own format, which transformers loads,
too: only, its projections hold no more than 7 bits. In int8 its scores are then nearer to those in
fp32, more than twice as near with zen-mini. Measure with zen-fast eval what rounding costs.
"""


def build_parser() -> CommandParser:
    """The command line, with help that teaches."""
    parser = CommandParser(
        prog="zen-fast quantize",
        description="Write a model as an int8 checkpoint: 7-bit projections, fp16 embeddings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="zen-mini, a local folder, or a hub id")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write; must be new")
    parser.add_argument(
        "--rounded",
        action="store_true",
        help="keep the model's format, and move its projections to what int8 holds",
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        metavar="FOLDER[:SPLIT]",
        help="round for what the projections read on these texts, not each weight to the nearest: "
        f"{_NUM_QUERIES} queries with {_DEPTH} documents each, of BEIR folders (the split is test "
        "unless named), or stdlib, the documentation of Python's standard library",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _quantize(arguments))


def _quantize(arguments: argparse.Namespace) -> int:
    from zen_fast.assembling import answering, kept_layers, read_prompt
    from zen_fast.checkpoint import load_checkpoint
    from zen_fast.checkpoint.new_folder import require_changeable
    from zen_fast.checkpoint.quantized import save_quantized
    from zen_fast.checkpoint.rounded import save_rounded
    from zen_fast.sentence_transformers_settings import read_settings
    from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

    model, out, rounded = arguments.model, arguments.out, arguments.rounded
    require_writable(out)  # before what takes minutes
    checkpoint = load_checkpoint(model)
    require_changeable(checkpoint, out)
    kept: tuple[int, ...] = ()
    if checkpoint.spec.causal or checkpoint.vocabulary is not None:
        folder = checkpoint.folder
        stock = load_stock_tokenizer(folder, checkpoint.config, checkpoint.tokenizer_config)
        prompt = read_prompt(model, checkpoint, stock, read_settings(folder))
        if checkpoint.vocabulary is not None:
            checkpoint = answering(checkpoint, prompt)
        kept = kept_layers(checkpoint, stock, prompt)
    moments = None if arguments.texts is None else _moments(model, checkpoint, arguments.texts)
    if rounded:
        num_bytes = save_rounded(checkpoint, out, kept, moments)
    else:
        num_bytes = save_quantized(checkpoint, model, out, kept, moments)
    state = "as they were" if rounded else "in fp32"
    of_kept = f", layers {', '.join(map(str, kept))} {state}" if kept else ""
    print(f"wrote {out}: weights of {num_bytes / 1e6:.1f} MB{of_kept}")
    return 0


def _moments(model: str, checkpoint: Checkpoint, targets: Sequence[str]) -> dict[str, Array]:
    """What the model's projections read on queries with BM25's best documents."""
    try:
        from zen_fast.candidates import bm25_requests, sample_queries
        from zen_fast.encoder import Encoder
        from zen_fast.engine import Engine
        from zen_fast.input_moments import input_moments
        from zen_fast.reranker import ZenReranker
        from zen_fast.standard_library import load_texts
    except ImportError as error:
        raise MissingDependencyError(
            f"--texts needs {error.name}: {install('eval', 'train')}"
        ) from error
    requests = [
        request
        for collection in map(load_texts, targets)
        for request in bm25_requests(
            collection, sample_queries(sorted(collection.queries), _NUM_QUERIES, _SEED), _DEPTH
        )
    ]
    if not requests:
        raise InvalidArgumentError(
            f"no query of {', '.join(targets)} finds a document; name another collection"
        )
    max_length = min(_MAX_TOKENS, checkpoint.spec.max_length)
    reader = ZenReranker.from_pretrained(model, backend="reference", max_length=max_length)
    queries = [request.query for request in requests for _ in request.documents]
    documents = [document for request in requests for document in request.documents]
    assert isinstance(reader.engine, Engine)  # on one device
    pairs = reader.engine.encode(queries, documents).sequences
    with ProgressBar(len(pairs), show=None) as bar:
        return input_moments(Encoder(checkpoint.spec, checkpoint.weights), pairs, bar.advance)


if __name__ == "__main__":
    raise SystemExit(main())
