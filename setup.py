"""Compile the kernels of src/lenet/kernels for the levels of this kind of processor; all else is in pyproject.toml."""

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = Path("src/lenet/kernels")


def read_levels():
    """Import levels.py by itself: the package is not installed yet."""
    spec = importlib.util.spec_from_file_location("levels", FOLDER / "levels.py")
    levels = importlib.util.module_from_spec(spec)
    sys.modules["levels"] = levels
    spec.loader.exec_module(levels)
    return levels


class BuildKernels(build_ext):
    """Has the pinned compiler make one shared library a level; each is found by its own name."""

    def get_ext_filename(self, name):
        """Return the file's path within the package, without Python's own suffix: any version loads it."""
        *folders, last = name.split(".")
        return str(Path(*folders, f"{last}.so"))

    def build_extension(self, extension):
        """Compile one level."""
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        level = extension.level
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-m", "ziglang", *level.command(extension.sources, str(target))]
            environment = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
            subprocess.run(command, check=True, env=os.environ | environment)
        target.with_name(level.digests_file).write_text(LEVELS.digests(FOLDER, target), encoding="utf-8")

    def copy_extensions_to_source(self):
        """Copy the digests too, when the package is installed as editable."""
        super().copy_extensions_to_source()
        for file in Path(self.build_lib, "lenet/kernels").glob("*.sha256"):
            self.copy_file(str(file), str(FOLDER))


def extension(levels, level):
    """Return what setuptools calls a level."""
    made = Extension(
        f"lenet.kernels.{level.file.removesuffix('.so')}", [str(FOLDER / source) for source in levels.SOURCES]
    )
    made.level = level
    return made


LEVELS = read_levels()
setup(
    ext_modules=[extension(LEVELS, level) for level in LEVELS.LEVELS.get((platform.system(), platform.machine()), ())],
    cmdclass={"build_ext": BuildKernels},
)
