"""matrix.toml: the rows, what a user's own file may say, and how it is told what is wrong."""

from pathlib import Path

import pytest

from pyembed_gen import matrix, sums
from pyembed_gen.errors import UsageError

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[1]


def own(tmp_path: Path, text: str) -> matrix.Matrix:
    """Load a matrix.toml with this text."""
    path = tmp_path / "matrix.toml"
    path.write_text(text, encoding="utf-8")
    return matrix.load(path)


@pytest.mark.parametrize(("tag", "count"), [("20260414", 28), ("20261021", 112)])
def test_rows_make_every_name_of_a_release(tag: str, count: int) -> None:
    """Every archive of both real lists comes out of the rows, and for these versions the rows make nothing else."""
    real = sums.parse((DATA / f"SHA256SUMS-{tag}").read_text("ascii"), where="list")
    assert len(real) == count
    loaded = matrix.load(None)
    versions = {name.split("+")[0].removeprefix("cpython-") for name in real}
    made = {
        f"cpython-{version}+{tag}-{row.triple}-{ending}"
        for row in loaded.platforms.values()
        for version in versions
        if row.has_line(matrix.line_of(version))
        for ending in (row.full, row.stripped)
    }
    assert made == set(real)


def test_lock_holds_the_sums_of_the_real_release() -> None:
    """matrix.lock has what the release's SHA256SUMS says, for all that the default matrix can ask for."""
    real = sums.parse((DATA / "SHA256SUMS-20261021").read_text("ascii"), where="list")
    loaded = matrix.load(None)
    wanted = {
        loaded.asset(row, version, loaded.pbs)
        for row in loaded.platforms.values()
        for version in loaded.versions
        if row.has_line(matrix.line_of(version))
    }
    assert wanted <= loaded.lock.keys()
    assert loaded.lock == real
    assert (ROOT / "matrix.lock").read_text("ascii") == sums.render(real)


def test_default_matrix_is_the_documented_one() -> None:
    """A bare run builds the primary line for six platforms from the documented release."""
    loaded = matrix.load(None)
    assert loaded.pbs == "20261021"
    assert loaded.versions == ("3.15.1", "3.14.9", "3.13.17", "3.12.15", "3.11.17")
    assert loaded.primary == "3.14"
    assert set(loaded.default_platforms) == {
        f"{goos}/{goarch}" for goos in ("linux", "darwin", "windows") for goarch in ("amd64", "arm64")
    }


def test_own_file_says_only_what_differs(tmp_path: Path) -> None:
    """Tables are laid over the shipped ones key by key; lists and texts replace."""
    loaded = own(
        tmp_path,
        'platforms = ["linux/amd64"]\nfeatures = ["tkinter"]\n[output]\ndir = "py"\n'
        '[drop]\ntests = []\nmine = ["*.rst"]\n',
    )
    assert loaded.default_platforms == ("linux/amd64",)
    assert loaded.features == ("tkinter",)
    assert loaded.output.directory == tmp_path / "py"
    assert loaded.output.package == "data"
    rules = {rule.name: rule.patterns for rule in loaded.drop}
    assert rules["tests"] == ()
    assert rules["mine"] == ("*.rst",)
    assert rules["bytecode"] == ("__pycache__/", "*.pyc")


def test_own_row_adds_a_platform(tmp_path: Path) -> None:
    """A platform that the shipped matrix lacks is one table in a user's file."""
    loaded = own(
        tmp_path,
        '[platform."linux/riscv64"]\ntriple = "riscv64-unknown-linux-gnu"\nfull = "lto-full.tar.zst"\n'
        'stripped = "install_only_stripped.tar.gz"\nlayout = "unix"\nformat = "elf"\nmachine = "riscv64"\n'
        'constraint = "linux && riscv64"\n',
    )
    row = loaded.platform("linux/riscv64")
    assert (row.goos, row.goarch, row.directory, row.stub) == (
        "linux",
        "riscv64",
        "linux-riscv64",
        "embed_linux_riscv64.go",
    )
    assert (row.system, row.platform_machine, row.wheels, row.floor, row.oldest) == (None, "", "", "", "")


def test_shipped_rows_say_what_wheels_fit() -> None:
    """Every row has all columns for wheels; variants have those of the plain row; floors are the documented ones."""
    rows = matrix.load(None).platforms
    columns = ("system", "platform_machine", "wheels", "floor", "oldest")
    for row in rows.values():
        plain = rows["/".join(row.key.split("/")[:2])]
        assert [getattr(row, name) for name in columns] == [getattr(plain, name) for name in columns]
        assert row.system is not None
    assert {key: (row.wheels, row.floor, row.oldest) for key, row in rows.items() if not row.abi} == {
        "linux/amd64": ("manylinux x86_64", "2.17", "2.17"),
        "linux/arm64": ("manylinux aarch64", "2.17", "2.17"),
        "darwin/amd64": ("macosx x86_64", "11.0", "10.15"),
        "darwin/arm64": ("macosx arm64", "11.0", "11.0"),
        "windows/386": ("win32", "", ""),
        "windows/amd64": ("win_amd64", "", ""),
        "windows/arm64": ("win_arm64", "", ""),
    }


def test_lock_and_primary_beside_an_own_file_are_read(tmp_path: Path) -> None:
    """A matrix.lock beside the file adds sums to the shipped ones; PRIMARY_PYTHON there wins."""
    (tmp_path / "matrix.lock").write_text(f"{'a' * 64}  mine.tar.zst\n", encoding="ascii")
    (tmp_path / "PRIMARY_PYTHON").write_text("3.12\n", encoding="ascii")
    loaded = own(tmp_path, "")
    assert loaded.lock["mine.tar.zst"] == "a" * 64
    assert len(loaded.lock) == 113
    assert loaded.primary == "3.12"


def test_primary_that_is_not_built_gives_way(tmp_path: Path) -> None:
    """If the matrix lacks the primary line, its first version is the primary."""
    assert own(tmp_path, '[python]\nversions = ["3.13.17"]\n').primary == "3.13"


def test_nearest_file_upwards_is_found(tmp_path: Path) -> None:
    """The nearest matrix.toml above the working directory is taken, as people know it from other tools."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "matrix.toml").touch()
    assert matrix.find(tmp_path / "a" / "b") == tmp_path / "matrix.toml"
    (tmp_path / "a" / "matrix.toml").touch()
    assert matrix.find(tmp_path / "a" / "b") == tmp_path / "a" / "matrix.toml"
    assert matrix.find(Path("/proc")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("platforms = [", "not TOML"),
        ("nonsense = 1", "unknown key 'nonsense'"),
        ("[source]\npsb = '20261021'", "unknown key 'psb'; nearest: pbs; all keys: archive"),
        ('[platform."linux/amd64"]\ntripel = "x"', "unknown key 'tripel'; nearest: triple"),
        ("[feature.x]\nkeeps = []", "unknown key 'keeps'; nearest: keep"),
        ("[source]\npbs = 20261021", "pbs must be a release tag such as 20261021, not 20261021"),
        ("[source]\narchive = 'slim'", '"full" or "stripped"'),
        ("[python]\nversions = []", "versions is empty"),
        ("[python]\nversions = ['3.14']", "a version such as 3.14.9, not '3.14'"),
        ("platforms = ['linux/z80']", "a row of [platform], not 'linux/z80'"),
        ("platforms = 'linux/amd64'", "platforms must be a list"),
        ("features = ['tk']", "one of [feature], not 'tk'"),
        ("[output]\nstrip = 'yes'", "strip must be true or false"),
        ("[output]\npackage = 'func'", "a Go package name, not 'func'"),
        ("[output]\ncodec = 'xz'", "gzip, zstd or none"),
        ("[output]\ndir = ''", "dir must be a path, not ''"),
        ("[source]\nurl = ''", "a text that is not empty"),
        ('[platform."Linux/AMD64"]\ntriple = "x"', "not goos/goarch"),
        ('[platform."linux/amd64"]\nlayout = "amiga"', "one of [layout]"),
        ('[platform."linux/amd64"]\ntriple = "../x"', "a triple"),
        ('[platform."linux/amd64"]\nwheels = "manylinux"', "floor means nothing for wheels 'manylinux'"),
        ('[platform."linux/amd64"]\nwheels = "windows x86"', "manylinux, musllinux or macosx and an architecture"),
        ('[platform."linux/amd64"]\nwheels = "manylinux x86-64"', "not 'manylinux x86-64'"),
        ('[platform."linux/amd64"]\nfloor = 2.28', "floor must be a version such as 2.17, not 2.28"),
        ('[platform."linux/amd64"]\noldest = "new"', "oldest must be a version such as 2.17, not 'new'"),
        ('[platform."linux/amd64"]\nsystem = "amiga"', "system must be one of [system], not 'amiga'"),
        ('[platform."linux/amd64"]\nplatform_machine = ""', "platform_machine must be a text that is not empty"),
        ('[platform."windows/amd64"]\nfloor = "10.0"', "floor means nothing for wheels 'win_amd64'"),
        ("[system.linux]\nos = 'posix'", "unknown key 'os'"),
        ("[system.linux]\nos_name = 1", "os_name must be a text that is not empty, not 1"),
        ("[layout.unix]\ninterpreter = '/bin/sh'", "a path inside the installation"),
        ("[layout.unix]\nstdlib = 'lib/{user}'", "at most {line} and {abi}"),
        ("source = 1", "source must be a table"),
        ("[drop]\ntets = []", "there is no rule 'tets' to switch off; nearest: tests"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    """Each mistake in a matrix is a UsageError that names the file and the key."""
    with pytest.raises(UsageError) as caught:
        own(tmp_path, text)
    assert words in str(caught.value)
    assert "matrix.toml" in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A file that is not there, a bad lock and a bad PRIMARY_PYTHON are UsageErrors."""
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        matrix.load(tmp_path / "none.toml")
    (tmp_path / "PRIMARY_PYTHON").write_text("three\n", encoding="ascii")
    with pytest.raises(UsageError, match="'three' is not a Python line"):
        own(tmp_path, "")
    (tmp_path / "matrix.lock").write_text("nonsense\n", encoding="ascii")
    with pytest.raises(UsageError, match=r"matrix\.lock"):
        own(tmp_path, "")
    (tmp_path / "matrix.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"matrix\.lock"):
        own(tmp_path, "")


def test_unknown_platform_suggests_near_ones() -> None:
    """Asking for a platform that is not there names those that look like it."""
    with pytest.raises(
        UsageError, match=r"'linux/x86' is not in the matrix; nearest: .*linux/amd64.*; all platforms: darwin/amd64, "
    ):
        matrix.load(None).platform("linux/x86")


def test_names_of_other_tools_lead_to_ours() -> None:
    """Who writes macos/aarch64, as Rust and Python do, is told of darwin/arm64."""
    with pytest.raises(UsageError, match=r"nearest: darwin/arm64"):
        matrix.load(None).platform("macos/aarch64")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 5000, "nested too deeply"),
        ('[output]\ndir = "a\\u0000b"', "a path, not"),
        ('[platform."linux/amd64"]\nconstraint = "linux\\npackage evil"', "a Go build constraint"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    """Nesting without end, NUL in paths and line breaks in constraints are mistakes like others."""
    with pytest.raises(UsageError, match=words):
        own(tmp_path, text)
