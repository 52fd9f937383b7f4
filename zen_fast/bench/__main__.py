"""`zen-fast bench`: measure, report, and fail where an engine is refused."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from zen_fast.command_line import run_command
from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install

ENGINE_FAILED = 1

_NEEDED = (
    "torch",
    "transformers",
    "sentence_transformers",
    "bm25s",
    "Stemmer",
    "ir_measures",
    "matplotlib",
    "rich",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; `--help` lists them."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _measure(arguments))


def _measure(arguments: list[str]) -> int:
    _require_dependencies()
    if "--skip-work" in arguments:
        from zen_fast.bench.skip_work.options import parse_options as parse_skip_work_options
        from zen_fast.bench.skip_work.run import run as run_skip_work

        return run_skip_work(parse_skip_work_options(arguments), arguments)
    from zen_fast.bench.options import parse_options
    from zen_fast.bench.run import run
    from zen_fast.bench.worker_process import EngineFailedError

    try:
        return run(parse_options(arguments), arguments)
    except EngineFailedError as error:
        # Not one line: the last words of the engine's process have their own.
        print(f"zen-fast: error: {error}", file=sys.stderr)
        return ENGINE_FAILED


def _require_dependencies() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the benchmark needs {', '.join(missing)}: {install('bench')}"
        )


if __name__ == "__main__":
    sys.exit(main())
