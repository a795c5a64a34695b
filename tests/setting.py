"""Constants and small types that tests share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TAG = "20990101"  # a release that no lock knows, so that sums come from its SHA256SUMS
VERSION = "3.14.9"
ROOT = Path(__file__).parents[1]

TRIPLES = {
    "linux/amd64": "x86_64-unknown-linux-gnu",
    "linux/arm64": "aarch64-unknown-linux-gnu",
    "darwin/amd64": "x86_64-apple-darwin",
    "darwin/arm64": "aarch64-apple-darwin",
    "windows/amd64": "x86_64-pc-windows-msvc",
    "windows/arm64": "aarch64-pc-windows-msvc",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What a run of the command line came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]
