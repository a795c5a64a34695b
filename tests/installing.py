"""Builds the generator's wheel and installs it for other interpreters than the one that runs the tests."""

import subprocess
import sys
from pathlib import Path

from setting import ROOT


def build_wheel(folder: Path) -> Path:
    """Build the wheel from this checkout and return its path."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, python: Path, target: Path) -> None:
    """Install the wheel for another interpreter, which may have no pip, into a folder of its own."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, cwd=target.parent, capture_output=True)
