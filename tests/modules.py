"""Go modules that tests write, and the programs that are built from them."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from setting import ROOT, Done

HELLO = ROOT / "examples" / "hello"


def fresh_module(folder: Path, generate: str = "pyembed-gen") -> Path:
    """Write a module that is examples/hello with another name, in a folder that knows nothing of this repository."""
    folder.mkdir(parents=True)
    for name in ("main.go", "go.mod", "go.sum"):
        text = (HELLO / name).read_text(encoding="utf-8").replace("example.com/hello", "example.com/fresh")
        text = text.replace("../../runtime", (ROOT / "runtime").as_posix()).replace(
            "//go:generate pyembed-gen\n", f"//go:generate {generate}\n"
        )
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def start(program: Path, *arguments: str, cache: Path, environ: Mapping[str, str] | None = None) -> Done:
    """Run a built program with an empty PATH and its own extraction folder."""
    done = subprocess.run(
        [program, *arguments],
        env={"PATH": "", "PYEMBED_CACHE_DIR": str(cache), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)
