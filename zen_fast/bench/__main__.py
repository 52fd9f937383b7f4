"""`python -m zen_fast.bench`: measure, report, and fail where an engine is refused."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from zen_fast.errors import MissingDependencyError, ZenError

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
    """Run the benchmark; 0 measured, 1 an engine was refused or failed, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _require_dependencies()
        from zen_fast.bench.options import parse_options
        from zen_fast.bench.run import run

        return run(parse_options(arguments), arguments)
    except ZenError as error:
        print(f"zen_fast.bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("zen_fast.bench: interrupted; nothing was written", file=sys.stderr)
        return 130


def _require_dependencies() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the benchmark needs {', '.join(missing)}: pip install zen-fast[bench]"
        )


if __name__ == "__main__":
    sys.exit(main())
