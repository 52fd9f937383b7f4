"""zen_fast from a checkout without installing it: a folder to put on the path, and the extension.

Installed, `kernels/` is the package zen_fast.kernels; here a folder of links stands in for that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu_gate.context import ROOT
from zen_fast.errors import MissingDependencyError


def lay_out_package(site: Path) -> None:
    """Make `site`/zen_fast out of links into the checkout, kernels/ at their place among them.

    The benchmarks lie beside it, so that the checkout itself need not be on the path: transformers
    would take its kernels/ for the package of that name.
    """
    package = site / "zen_fast"
    package.mkdir(parents=True, exist_ok=True)
    _link(site / "benchmarks", ROOT / "benchmarks")
    sources = {path.name: path for path in (ROOT / "zen_fast").iterdir()}
    # An extension in the checkout may be of another Python or of older sources.
    skipped = {name for name in sources if name.endswith(".so") or name == "__pycache__"}
    wanted = {name: path for name, path in sources.items() if name not in skipped}
    wanted["kernels"] = ROOT / "kernels"
    for name, path in wanted.items():
        _link(package / name, path)


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def build_extension(site: Path, build: Path) -> None:
    """Configure and build zen_fast._C into `site`, and the C++ tests; then run these.

    Raises:
        MissingDependencyError: pybind11 or cmake is not installed.
        subprocess.CalledProcessError: a step failed; it has said why.
    """
    try:
        import pybind11
    except ImportError as error:
        raise MissingDependencyError(
            "building the extension needs pybind11: pip install pybind11"
        ) from error
    if shutil.which("cmake") is None:
        raise MissingDependencyError("building the extension needs cmake: pip install cmake")
    subprocess.run(
        [
            "cmake",
            *("-S", str(ROOT), "-B", str(build)),
            *(("-G", "Ninja") if shutil.which("ninja") else ()),
            "-DCMAKE_BUILD_TYPE=Release",
            "-DZEN_FAST_TESTS=ON",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={site / 'zen_fast'}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ],
        check=True,
    )
    subprocess.run(["cmake", "--build", str(build), "--parallel"], check=True)
    subprocess.run(["ctest", "--test-dir", str(build), "--output-on-failure"], check=True)
