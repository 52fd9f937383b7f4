"""Where and how a command's reranker runs: the options that such commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from zen_fast.placement import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from zen_fast.reranker import ZenReranker


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --precision, --device, --threads, --early-stop and --deadline-ms to `parser`."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the reranker (default: auto, as stored, on a GPU fp16); int8 is the fast one on "
        "the CPU",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help=f"of the reranker: {', '.join(DEVICES)} (default: auto, the CPU)",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="of the reranker (default: every usable core)"
    )
    parser.add_argument(
        "--early-stop",
        type=float,
        metavar="SHARE",
        help="stop where this share of the exact best is expected to be found, in the order of "
        "the first stage",
    )
    parser.add_argument(
        "--deadline-ms", type=float, metavar="MS", help="return after so long with what is scored"
    )


def load_reranker(model: str, arguments: argparse.Namespace, **choices: Any) -> ZenReranker:
    """The reranker that a parsed command line asks for; `choices` as in `from_pretrained`."""
    from zen_fast.reranker import ZenReranker  # --help needs no extension

    return ZenReranker.from_pretrained(
        model,
        precision=arguments.precision,
        device=arguments.device,
        num_threads=arguments.threads,
        **choices,
    )
