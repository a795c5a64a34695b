"""Payloads are compressed the same way everywhere, and lie where Go finds all of them."""

import gzip
import io
import json
import random
import string
import subprocess
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import deflate
import pytest
from hypothesis import given
from hypothesis import strategies as st

import packing
import pbs
from peer_fixtures import Go
from pyembed_gen import payload, verify
from pyembed_gen.errors import ArchiveError
from pyembed_gen.payload import fold, inflate, paths
from pyembed_gen.plan import Codec
from setting import ROOT

GZIP, ZSTD = Codec("gzip", 10), Codec("zstd", 22)
VECTORS = json.loads((ROOT / "tests/vectors/payload_path.json").read_bytes())
MIB = 1 << 20

RULES = """
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// fold is strToFold of golang.org/x/mod/zip, for one rune.
func fold(r rune) rune {
	for {
		r0 := r
		r = unicode.SimpleFold(r0)
		if r <= r0 {
			break
		}
	}
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

func main() {
	var result any
	switch os.Args[1] {
	case "runes":
		assigned := []*unicode.RangeTable{unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z,
			unicode.Cc, unicode.Cf, unicode.Co}
		var known [][3]int
		for r := rune(0); r <= unicode.MaxRune; r++ {
			if !unicode.In(r, assigned...) || unicode.Is(unicode.Co, r) {
				continue
			}
			letter := 0
			if module.CheckFilePath("x"+string(r)+"x") == nil {
				letter = 1
			}
			known = append(known, [3]int{int(r), int(fold(r)), letter})
		}
		result = known
	case "paths":
		var paths []string
		if err := json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&paths); err != nil {
			panic(err)
		}
		refused := []string{}
		for _, path := range paths {
			if err := module.CheckFilePath(path); err != nil && !strings.ContainsRune(path, unicode.ReplacementChar) {
				refused = append(refused, path)
			}
		}
		result = refused
	case "zip":
		found, err := zip.CheckDir(os.Args[2])
		if err != nil {
			panic(err)
		}
		result = found.Valid
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		panic(err)
	}
}
"""

MAIN = """
package main

import (
	"fmt"
	"io/fs"

	"example.invalid/app/data"
)

func main() {
	err := fs.WalkDir(data.Data, ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			fmt.Println(path)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
}
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """Go's real rules about names."""

    program: Path

    def runes(self) -> Mapping[int, tuple[int, bool]]:
        """Return each code point that Go knows: to what it folds, and whether it may be in a file's path."""
        return {rune: (folded, bool(letter)) for rune, folded, letter in self._ask("runes")}

    def refused(self, names: Iterable[str]) -> set[str]:
        """Return what module.CheckFilePath refuses."""
        return set(self._ask("paths", text=json.dumps(sorted(names))))

    def zipped(self, folder: Path) -> set[str]:
        """Return what a module zip of the folder has."""
        return set(self._ask("zip", str(folder)))

    def _ask(self, *arguments: str, text: str = "") -> list[str]:
        done = subprocess.run(
            [self.program, *arguments], input=text.encode(), stdout=subprocess.PIPE, check=True, timeout=60
        )
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def rules(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """Build a program from golang.org/x/mod."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "go.mod").write_text("module rules\n\ngo 1.24\n\nrequire golang.org/x/mod v0.30.0\n")
    (folder / "main.go").write_text(RULES)
    go.at(folder)("build", "-o", "rules", ".")
    return Rules(folder / "rules")


def blocks(content: bytes, codec: str) -> bytes:
    return b"".join(inflate(io.BytesIO(content), codec))


def escaped(names: Iterable[str], suffix: str = "") -> set[str]:
    return set(paths(dict.fromkeys(names, suffix)))


# --- where payloads lie -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_vectors(case: Mapping[str, object]) -> None:
    """Payloads lie where the vectors say that Python and Go share."""
    entries: Sequence[Mapping[str, str]] = case["entries"]  # type: ignore[assignment]
    found = paths({entry["name"]: entry["suffix"] for entry in entries})
    assert {entry["name"]: found.get(entry["name"]) for entry in entries} == case["paths"]


def test_letters_are_those_that_go_knows(rules: Rules) -> None:
    """A character that is left in a path is one that CheckFilePath lets pass; ASCII is as Go has it exactly."""
    known = rules.runes()
    fine = {point for point in known if payload._character_is_fine(chr(point))}
    allowed = {point for point, (_, letter) in known.items() if letter}
    assert fine <= allowed
    assert {point for point in fine if point < 0x80} == {point for point in allowed if point < 0x80} - {ord("/")}
    assert len(fine) > 80_000


def test_letters_do_not_depend_on_the_version_of_python() -> None:
    """What is a letter is decided by Unicode 3.2, which every Python has; younger letters are escaped."""
    young = [chr(point) for point in range(0x80, 0x110000) if unicodedata.ucd_3_2_0.category(chr(point)) == "Cn"]
    assert not [ch for ch in young if payload._character_is_fine(ch)]
    assert escaped(["a/\u0221", "a/\u0220"]) == {"a/\u0221"}


def test_folding_is_gos(rules: Rules) -> None:
    """Two characters fold to one exactly if they do in x/mod/zip, for all that both Unicode versions know."""
    here, there = defaultdict(set), defaultdict(set)
    for point, (folded, _) in rules.runes().items():
        if unicodedata.category(chr(point)) != "Cn":
            here[fold(f"{chr(point)}é")].add(point)
            there[folded].add(point)
    assert sorted(map(sorted, here.values())) == sorted(map(sorted, there.values()))
    assert fold("ABC/Straẞe\u212a") == "abc/straßek"


def candidates() -> Iterable[str]:
    noise = random.Random(11)
    words = [
        *("a", "B", "aux", "COM1", "lpt9", "con", "nul.x", "prn .x", "con$", "vendor", "Vendor", "go.mod", "GO.MOD"),
        *(".git", ".gitx", ".hg", ".Svn", ".bzr", "x.go", ".", "..", "...", "a.", ".a", "", " ", "a ", "-", "é", "字"),
        *(
            "\u017fvn",
            ".\u017fvn",
            "\u212aey",
            "٣",
            "²",
            "\u00ad",
            "\u200b",
            "\ufeff",
            "\u0301",
            "a\u0301",
            "COM¹",
            "~1",
        ),
    ]
    for _ in range(4000):
        yield "/".join(noise.choices(words, k=noise.randint(1, 4)))
    for ch in string.printable:
        yield from (f"a{ch}b", f"{ch}a", f"a{ch}", f"x/{ch}/y")
    for _ in range(2000):
        yield "".join(noise.choices(string.ascii_letters + "./ ~$éж²'", k=noise.randint(1, 12)))


def test_whatever_go_refuses_is_escaped(rules: Rules) -> None:
    """Of names and suffixes of all kinds, no path that is left alone is one that CheckFilePath refuses."""
    names = set(candidates())
    for suffix in payload.SUFFIXES.values():
        left = {name + suffix for name in names if not escaped([name], suffix)}
        assert len(left) > 1000
        assert rules.refused(left) == set()


def test_nothing_is_escaped_without_a_reason(rules: Rules) -> None:
    """A name is escaped for what CheckFilePath refuses or for one of the reasons that the format lists."""
    names = set(candidates())
    refused = rules.refused(names)
    listed = ("vendor", "go.mod", ".hg", ".bzr", ".svn")
    for name in sorted(name for name in names - refused if escaped([name])):
        elements = fold(name).split("/")
        assert (
            elements[0] in ("_", "files.json")
            or any(element in listed or element.startswith(".git") for element in elements)
            or any(element.endswith(".go") for element in name.split("/"))
        ), name


@given(st.lists(st.text("aAbB\u212ak.gz/", min_size=1, max_size=6), max_size=8, unique=True), st.randoms())
def test_no_two_payloads_collide(names: list[str], shuffled: random.Random) -> None:
    """On a file system that folds case no payload is another's or another's folder, in whatever order they come."""
    suffixes = {name: shuffled.choice(["", ".gz"]) for name in names}
    found = paths(suffixes)
    placed = [found.get(name) or name + suffix for name, suffix in suffixes.items()]
    folded = [fold(path) for path in placed]
    assert len(set(folded)) == len(folded)
    folders = {"/".join(path.split("/")[:end]) for path in placed for end in range(1, path.count("/") + 1)}
    assert not set(folded) & {fold(folder) for folder in folders}
    assert len({fold(folder) for folder in folders}) == len(folders)
    order = shuffled.sample(names, len(names))
    assert paths({name: suffixes[name] for name in order}) == found


def hostile_tree() -> Mapping[str, bytes]:
    """Return a tree with all names of the vectors that one tree can hold, each content in itself compressible."""
    names = sorted({entry["name"] for case in VECTORS for entry in case["entries"]})
    folders = {"/".join(name.split("/")[:end]) for name in names for end in range(1, name.count("/") + 1)}
    return {
        name: f"{index} ".encode() * (40 if index % 2 else 1) for index, name in enumerate(names) if name not in folders
    }


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_go_embeds_every_payload(codec: str, go: Go, rules: Rules, tmp_path: Path) -> None:
    """A real `go build` of a bundle with all those names has every payload, and so has a module zip of it."""
    module = tmp_path / "app"
    data = module / "data"
    goos, goarch = go("env", "GOOS", "GOARCH").split()
    packed = packing.pack(tmp_path / "cache", hostile_tree(), codec)
    assert sum(bool(entry.path) for entry in packed.manifest.files) > 60
    packing.put(data, {f"{goos}/{goarch}": packed})
    bundle = data / f"{goos}-{goarch}"
    assert verify.verify(bundle)[1] == ()
    (module / "go.mod").write_text("module example.invalid/app\n\ngo 1.24\n")
    (module / "main.go").write_text(MAIN)
    there = go.at(module)
    assert there("list", "./...").split() == ["example.invalid/app", "example.invalid/app/data"]
    there("vet", "./...")
    expected = {entry.payload(codec) for entry in packed.manifest.files}
    expected |= {"files.json", ".gitattributes", ".gitignore"}
    assert set(there("run", ".").splitlines()) == expected
    prefix = f"{bundle}/"
    zipped = {name.removeprefix(prefix) for name in rules.zipped(module) if name.startswith(prefix)}
    assert zipped == expected


# --- compression --------------------------------------------------------------------------------------


def test_gzip_has_no_name_and_no_time() -> None:
    """A member's header is the same on every machine: no flags, no time."""
    member = payload.compress(b"content " * 99, GZIP)
    assert member[:8] == b"\x1f\x8b\x08\0\0\0\0\0"
    assert gzip.decompress(member) == b"content " * 99
    assert member == payload.compress(b"content " * 99, GZIP)


def test_zstd_is_one_frame() -> None:
    """A file is one frame that says how large its content is."""
    frame = payload.compress(b"content " * 99, ZSTD)
    assert pbs.zstd_decompress(frame) == b"content " * 99
    assert frame.count(b"\x28\xb5\x2f\xfd") == 1


def test_library_says_what_compresses() -> None:
    """Each codec names its library and version, so that another one is another recipe."""
    assert payload.library(GZIP) == f"deflate {deflate.__version__}"
    assert payload.library(ZSTD).startswith("libzstd 1.")
    assert payload.library(Codec("none", 0)) == ""


SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB]


@pytest.mark.parametrize("codec", [Codec("gzip", 1), Codec("zstd", 1)], ids=["gzip", "zstd"])
@pytest.mark.parametrize("size", SIZES)
def test_inflate_undoes_compress(codec: Codec, size: int) -> None:
    """Content comes back whatever its size is, be it easy or impossible to compress, in blocks of at most 1 MiB."""
    for content in (bytes(size), packing.NOISE[:size]):
        parts = list(inflate(io.BytesIO(payload.compress(content, codec)), codec.name))
        assert b"".join(parts) == content
        assert max(map(len, parts), default=0) <= MIB


@pytest.mark.parametrize("size", SIZES)
def test_inflate_reads_all_members(size: int) -> None:
    """Members of any size follow each other, an empty one among them."""
    contents = [b"first", packing.NOISE[:size], b"", b"last"]
    members = b"".join(payload.compress(content, GZIP) for content in contents)
    assert blocks(members, "gzip") == b"".join(contents)


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=["gzip", "zstd"])
def test_cut_short_is_never_taken_for_whole(codec: Codec) -> None:
    """However much of a payload's end is missing, its content does not come back as if it were whole."""
    content = packing.NOISE[:300] + b"text " * 40
    whole = payload.compress(content, codec)
    for end in range(1, len(whole)):
        try:
            assert blocks(whole[:end], codec.name) != content
        except ArchiveError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=["gzip", "zstd"])
@pytest.mark.parametrize("tail", [b"\0", b"\0" * 600, b"garbage"])
def test_what_follows_is_damage(codec: Codec, tail: bytes) -> None:
    """Bytes behind the last member or frame are refused, zeros too, as Go refuses them."""
    with pytest.raises(ArchiveError, match=f"damaged {codec.name} data"):
        blocks(payload.compress(b"text " * 40, codec) + tail, codec.name)


def test_changed_byte_is_damage() -> None:
    """gzip's own checksum is looked at."""
    member = bytearray(payload.compress(packing.NOISE[: 2 * MIB], Codec("gzip", 1)))
    member[MIB] ^= 1
    with pytest.raises(ArchiveError):
        blocks(bytes(member), "gzip")


@given(st.binary(max_size=200), st.sampled_from(["gzip", "zstd"]), st.booleans())
def test_noise_is_an_archive_error(noise: bytes, codec: str, headed: bool) -> None:
    """No bytes make inflate raise anything but ArchiveError."""
    head = payload.compress(b"x" * 99, Codec(codec, 1))[:12] if headed else b""
    with suppress(ArchiveError):
        blocks(head + noise, codec)


def test_bomb_is_inflated_no_further_than_asked() -> None:
    """A small payload that holds gigabytes is read block by block: whoever stops has seen only one."""
    part = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(part.compress(bytes(MIB)) for _ in range(64)), part.flush()])
    assert len(bomb) < 100_000
    stream = inflate(io.BytesIO(bomb), "gzip")
    assert len(next(stream)) == MIB
    stream.close()  # type: ignore[attr-defined]
