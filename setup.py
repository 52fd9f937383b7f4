"""Builds zen_fast._C with CMake, and installs kernels/ as zen_fast.kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """Configures and builds CMakeLists.txt once, straight into the place setuptools asks for."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build_folder = Path(self.build_temp).resolve()
        build_folder.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            "--fresh",  # an older cache may name tools of a build environment that is gone
            *("-S", str(ROOT), "-B", str(build_folder), "-G", "Ninja"),
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ]
        build = ["cmake", "--build", str(build_folder), "--target", "_C"]
        build += ["--parallel", str(os.cpu_count() or 1)]
        for command in (configure, build):
            subprocess.run(command, check=True)


setup(
    packages=[
        "zen_fast.kernels",
        *(
            ".".join(init.parent.relative_to(ROOT).parts)
            for init in sorted((ROOT / "zen_fast").rglob("__init__.py"))
        ),
    ],
    package_dir={"zen_fast": "zen_fast", "zen_fast.kernels": "kernels"},
    package_data={
        "zen_fast": ["py.typed", "*.pyi", "models/*/*"],
        "zen_fast.backends": ["*.json"],
        "zen_fast.train": ["recipes/*"],
    },
    ext_modules=[Extension("zen_fast._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
