"""`zen-fast train`: make a cross-encoder from a recipe, collections and a base model."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from zen_fast.command_line import run_command
from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Train a small cross-encoder reranker, on a GPU in minutes, on a CPU in hours.

Stages, each left in the work folder, so that the same command continues an interrupted run:
  1. prepare   mine candidates, let BM25 and the base model (as a bi-encoder) rate every one; take
               the cross-encoder that the recipe or --start names, or make a student: some layers
               of the base model, distilled to embed query and document side by side, then given a
               layer that multiplies the two and a head that marks repeated words, so that it ranks
               before it is trained
  2. train     listwise softmax over each query's candidates, AdamW, warm-up, constant, decay
  3. export    write a Hugging Face folder in fp16

Only the first needs the data, the base model and BM25's packages: a work folder that one machine
has filled (--prepare-only) can be trained on another.
"""
_EPILOG = """\
examples:
  zen-fast train --recipe zen-mini-cpu --data data/ --base all-MiniLM-L6-v2/ \\
      --out my-model/
  zen-fast train --recipe zen-mini-tuned --start my-model/ --data data/ \\
      --base all-MiniLM-L6-v2/ --device cuda --out my-tuned-model/

The data folder holds one BEIR folder per collection that the recipe names:
  squad/corpus.jsonl[.gz]  squad/queries.jsonl[.gz]  squad/qrels/train.tsv
To train on your own collection, copy a recipe from zen_fast/train/recipes/ (zen-mini.json makes a
student, zen-mini-tuned.json goes on with a BERT cross-encoder that is there), edit "sources", and
give its path as --recipe; or write one that "extends" it, with what differs. Only documents
judged in the chosen split are ever read for training. A source's "reader" is a cross-encoder to
learn from, a larger one or another: beside the labels, or with "judged": false instead of them.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="zen-fast train",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--recipe", default="zen-mini", help="shipped recipe or JSON file (default: zen-mini)"
    )
    parser.add_argument(
        "--start",
        metavar="MODEL",
        help="BERT cross-encoder to fine-tune, in place of the recipe's: zen-mini, folder, hub id",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of BEIR collections")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="DIR",
        help="BERT bi-encoder that rates candidates, and that a student is made of",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the model is written"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="lists and checkpoints (default: OUT.work)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="torch threads (default: torch's choice)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)"
    )
    parser.add_argument("--prepare-only", action="store_true", help="fill the work folder and stop")
    parser.add_argument(
        "--stop-after", type=int, metavar="N", help="stop after N steps more and export"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_command(lambda: _train(arguments))


def _train(arguments: argparse.Namespace) -> int:
    try:
        from zen_fast.train.device import set_up_torch
        from zen_fast.train.export import export_model
        from zen_fast.train.mixing import mix_with_start
        from zen_fast.train.prepare import prepare
        from zen_fast.train.recipe import load_recipe
        from zen_fast.train.trainer import Trainer
    except ImportError as error:
        raise MissingDependencyError(f"training needs {error.name}: {install('train')}") from error
    set_up_torch(arguments.device, arguments.threads)
    changes = {} if arguments.start is None else {"start": arguments.start}
    recipe = load_recipe(arguments.recipe, **changes)
    work = arguments.work or arguments.out.with_name(arguments.out.name + ".work")
    prepare(recipe, arguments.data, arguments.base, work, arguments.device)
    if arguments.prepare_only:
        logger.info("prepared %s", work)
        return 0
    trainer = Trainer(recipe, work, arguments.device)
    trainer.run(arguments.stop_after)
    if recipe.start_share:
        mix_with_start(trainer.student, work / "start", recipe.start_share)
    export_model(trainer.student, trainer.tokenizer, arguments.out)
    logger.info("wrote %s", arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
