"""Whatever bundles stand side by side, every Go platform has exactly one `Data`, and it is the right one."""

import itertools
import json
import random
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from packing import platforms
from peer_fixtures import Go
from pyembed_gen import stubs
from pyembed_gen.matrix import Platform

# Evaluates constraints as the Go tool does: //go:build lines and file names, android as linux, ios as darwin.
MATCH = """
package main

import (
	"encoding/json"
	"go/build"
	"io"
	"os"
	"strings"
)

type question struct {
	Files map[string]string
	Tags  []string
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		panic(err)
	}
	answers := []map[string][]string{}
	for _, q := range questions {
		answer := map[string][]string{}
		for _, platform := range os.Args[1:] {
			goos, goarch, _ := strings.Cut(platform, "/")
			ctx := build.Context{GOOS: goos, GOARCH: goarch, Compiler: "gc", BuildTags: q.Tags, CgoEnabled: true}
			ctx.OpenFile = func(path string) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(q.Files[path])), nil
			}
			ctx.JoinPath = func(elem ...string) string { return elem[len(elem)-1] }
			for name := range q.Files {
				if match, err := ctx.MatchFile("", name); err != nil {
					panic(err)
				} else if match {
					answer[platform] = append(answer[platform], name)
				}
			}
		}
		answers = append(answers, answer)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		panic(err)
	}
}
"""

Answer = Mapping[str, list[str]]


class Matcher:
    """Says which stubs the Go tool takes on each platform that it knows."""

    def __init__(self, program: Path, known: list[str]) -> None:
        self.program = program
        self.known = known

    def __call__(self, rows: Iterable[tuple[Platform, ...]], tags: tuple[str, ...] = ()) -> list[Answer]:
        """Return for each set of rows and each platform the files that are compiled."""
        questions = [{"Files": files(row), "Tags": tags} for row in rows]
        done = subprocess.run(
            [self.program, *self.known],
            input=json.dumps(questions).encode(),
            stdout=subprocess.PIPE,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def match(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    """Build the program that asks go/build."""
    folder = tmp_path_factory.mktemp("match")
    (folder / "go.mod").write_text("module match\n\ngo 1.24\n")
    (folder / "main.go").write_text(MATCH)
    go.at(folder)("build", "-o", "match", ".")
    return Matcher(folder / "match", go("tool", "dist", "list").split())


def files(rows: Iterable[Platform]) -> Mapping[str, str]:
    """Return all stubs of an output that holds these platforms."""
    chosen = {row.key: row for row in rows}
    constraints = stubs.constraints(chosen.values())
    found = {chosen[key].stub: stubs.platform_stub(chosen[key], text, "data") for key, text in constraints.items()}
    found[stubs.OTHER] = stubs.other_stub(constraints.values(), "data")
    return {name: content.decode() for name, content in found.items()}


def subsets() -> list[tuple[Platform, ...]]:
    """Return every set of one or two of the matrix's platforms, all of them, and a few hundred in between."""
    rows = list(platforms().values())
    small = [*itertools.combinations(rows, 1), *itertools.combinations(rows, 2), tuple(rows)]
    noise = random.Random(3)
    return [*small, *(tuple(noise.sample(rows, noise.randint(3, len(rows)))) for _ in range(200))]


@pytest.mark.parametrize("tags", [(), ("freethreaded",)], ids=["plain", "freethreaded"])
def test_every_platform_has_exactly_the_right_stub(tags: tuple[str, ...], match: Matcher) -> None:
    """For any set of platforms and any target of Go one stub is compiled: the bundle's, or the one without data."""
    chosen = subsets()
    for rows, answer in zip(chosen, match(chosen, tags), strict=True):
        keys = {row.key for row in rows}
        for target in match.known:
            variant = f"{target}/freethreaded"
            key = variant if tags and variant in keys else target if not tags or variant not in keys else ""
            expected = platforms()[key].stub if key in keys else stubs.OTHER
            assert answer[target] == [expected], (target, sorted(keys))


def test_relatives_are_not_taken_for_what_they_satisfy(match: Matcher) -> None:
    """Android satisfies the tag linux and iOS darwin, but neither runs those bundles: they get no data."""
    (answer,) = match([tuple(platforms().values())])
    relatives = [target for target in match.known if target.startswith(("android/", "ios/"))]
    assert len(relatives) >= 5
    assert {name for target in relatives for name in answer[target]} == {stubs.OTHER}


@pytest.mark.parametrize("tags", [(), ("a",), ("b",), ("a", "b")], ids="+".join)
def test_variants_stay_apart_from_each_other(tags: tuple[str, ...], match: Matcher) -> None:
    """With the tags of two variants at once still one stub is compiled, that of the first tag."""
    row = platforms()["linux/amd64"]
    rows = (row, *(replace(row, key=f"linux/amd64/{tag}", tag=tag) for tag in ("b", "a")))
    for some in ((*rows,), rows[:2], rows[1:], (rows[2],)):
        (answer,) = match([some], tags)
        present = {each.tag for each in some}
        wanted = next((tag for tag in ("a", "b") if tag in tags and tag in present), "")
        stub = next((each.stub for each in some if each.tag == wanted), stubs.OTHER)
        assert answer["linux/amd64"] == [stub]


def test_stub_is_as_documented() -> None:
    """The stub of a platform is the file that the format shows, under the header of generated code."""
    text = files([platforms()["linux/amd64"]])["embed_linux_amd64.go"]
    assert text == (
        "// Code generated by pyembed-gen; DO NOT EDIT.\n\n"
        "//go:build linux && amd64 && !android\n\n"
        "package data\n\n"
        'import (\n\t"embed"\n\t"io/fs"\n)\n\n'
        "//go:embed all:linux-amd64\n"
        "var _data embed.FS\n"
        'var Data, _ = fs.Sub(_data, "linux-amd64")\n'
    )
    # https://go.dev/s/generatedcode
    assert re.fullmatch(r"// Code generated .* DO NOT EDIT\.", text.splitlines()[0])


def test_version_file() -> None:
    """PYTHON_VERSION can be sourced by a shell."""
    text = stubs.python_version("3.14.9", "20261021")
    assert text == b'PYTHON_VERSION="3.14.9"\nPYTHON_STANDALONE_VERSION="20261021"\n'


def test_programs_compile_everywhere(go: Go, tmp_path: Path) -> None:
    """A program compiles with and without data for its target, and gofmt has nothing to change in any stub."""
    for name, text in files(platforms().values()).items():
        (tmp_path / name).write_text(text)
    for row in platforms().values():
        (tmp_path / row.directory).mkdir()
        (tmp_path / row.directory / "files.json").write_text("{}")
    (tmp_path / "go.mod").write_text("module example.invalid/data\n\ngo 1.24\n")
    there = go.at(tmp_path)
    for target in ("freebsd/amd64", "android/arm64", "linux/amd64", "windows/386"):
        goos, goarch = target.split("/")
        for tags in ("", "freethreaded"):
            there("build", "-tags", tags, ".", GOOS=goos, GOARCH=goarch)
    done = subprocess.run(["gofmt", "-l", tmp_path], capture_output=True, check=True, text=True, timeout=60)
    assert done.stdout == ""
