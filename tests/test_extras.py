"""The extras that messages name can be installed, in any shell."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from zen_fast.extras import install

ROOT = Path(__file__).parents[1]


def test_install_is_quoted_for_the_shell() -> None:
    assert install("eval", "train") == "pip install 'zen-fast[eval,train]'"


def test_every_extra_that_the_package_names_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = "\n".join(path.read_text() for path in (ROOT / "zen_fast").rglob("*.py"))
    calls = " ".join(re.findall(r"\binstall\((.+?)\)", sources))
    named = set(re.findall(r"""["'](\w+)["']""", calls))
    assert {"bench", "eval", "train"} <= named
    assert named <= set(project["optional-dependencies"])
