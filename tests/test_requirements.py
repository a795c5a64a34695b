"""Requirement files are read as pip reads them, as far as this program must."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pip._internal.network.session import PipSession
from pip._internal.req import req_file

from pyembed_gen.errors import PipError
from pyembed_gen.requirements import Requirements, read

Write = Callable[[str, str | bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the test's folder and return its path."""

    def made(name: str, text: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return made


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep pip's warnings out of the log."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def asked(
    tmp_path: Path, *strings: str, files: tuple[str, ...] = (), constraints: tuple[str, ...] = ()
) -> Requirements:
    return Requirements(strings, files, constraints, tmp_path)


def test_all_files_are_inputs(tmp_path: Path, write: Write) -> None:
    """Those named by others too, each once, even in a circle; and wheels by path."""
    texts = {
        "r.txt": "-r sub/a.txt\n--requirement=sub/b.txt\n./w-1-py3-none-any.whl\n",
        "sub/a.txt": "-cb.txt\n-r ../r.txt\n",
        "sub/b.txt": "click<9\n",
        "c.txt": "click>8\n",
        "w-1-py3-none-any.whl": "wheel",
    }
    for name, text in texts.items():
        write(name, text)
    reading = read(asked(tmp_path, files=("r.txt",), constraints=("c.txt",)))
    expected = {str(tmp_path / name): hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    assert {each.path: each.sha256 for each in reading.inputs} == expected
    assert [each.path for each in reading.inputs] == sorted(expected)


def test_what_only_a_server_has(tmp_path: Path, write: Write) -> None:
    """It has no sum, and its URL is told without credentials."""
    write("r.txt", "-r https://me:secret@example.org/r.txt\n")
    reading = read(asked(tmp_path, files=("r.txt", "http://example.org/x.txt")))
    assert [each.path for each in reading.inputs if not each.sha256] == [
        "http://example.org/x.txt",
        "https://***@example.org/r.txt",
    ]


def test_options_say_where_to_look(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept, credentials and all, with folders that are found from anywhere; none of it is shown."""
    monkeypatch.setenv("TOKEN", "s3cr3t")
    (tmp_path / "sub" / "links").mkdir(parents=True)
    write(
        "sub/r.txt",
        "-i https://${TOKEN}@a.org/${UNSET}\n--extra-index-url=https://b.org/simple --pre\n-f links\n"
        "--find-links other\n"
        "--trusted-host c.org # a comment\n--no-index\n--no-binary x\n--prefer-binary\n--require-hashes\n-C a=b\n",
    )
    reading = read(asked(tmp_path, files=("sub/r.txt",)))
    assert reading.options == (
        "--index-url 'https://s3cr3t@a.org/${UNSET}'",
        "--pre",
        "--extra-index-url https://b.org/simple",
        f"--find-links {tmp_path}/sub/links",
        "--find-links other",
        "--trusted-host c.org",
        "--no-index",
    )
    assert "s3cr3t" not in repr(reading)


def test_urls_of_requirements(tmp_path: Path, write: Write) -> None:
    """They are kept for the download."""
    write("r.txt", "x @ https://a:b@c.org/x-1-py3-none-any.whl ; os_name == 'nt'\nhttps://d.org/y-1-py3-none-any.whl\n")
    assert read(asked(tmp_path, "z@https://e.org/z-1-py3-none-any.whl", files=("r.txt",))).urls == (
        "https://e.org/z-1-py3-none-any.whl",
        "https://a:b@c.org/x-1-py3-none-any.whl",
        "https://d.org/y-1-py3-none-any.whl",
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("-e .", "it is editable"),
        ("--editable=./project", "it is editable"),
        ("git+https://a.org/x.git", "it is a repository"),
        ("x @ git+ssh://git@a.org/x.git@main", "it is a repository"),
        ("x@hg+http://a.org/x", "it is a repository"),
        ("./project", "it is a folder"),
        ("./project[extra]; os_name == 'nt'", "it is a folder"),
        ("project/", "it is a folder"),
        ("./x-1.tar.gz", "it is a source archive"),
        ("https://me:s3cr3t@a.org/x-1.zip#sha256=00", "it is a source archive"),
        ("x @ https://a.org/x-1.tar.bz2; os_name == 'nt'", "it is a source archive"),
    ],
)
def test_what_is_no_wheel_is_refused(tmp_path: Path, write: Write, line: str, problem: str) -> None:
    """Before pip could run its code, with its place and without its credentials."""
    (tmp_path / "project").mkdir()
    path = write("r.txt", f"click\n\n{line}\n")
    with pytest.raises(PipError, match=rf"\(line 3 of {path}\): {problem}") as caught:
        read(asked(tmp_path, files=("r.txt",)))
    assert "s3cr3t" not in str(caught.value)
    if not line.startswith("-"):
        with pytest.raises(PipError, match=problem):
            read(asked(tmp_path, line))


def test_names_that_look_like_folders(tmp_path: Path) -> None:
    """A folder of that name does not make a requirement a path."""
    (tmp_path / "click").mkdir()
    assert read(asked(tmp_path, "click", "click[x]>=8; os_name=='nt'")).inputs == ()


def test_files_that_cannot_be_read(tmp_path: Path, write: Write) -> None:
    """One line says which, and who names it."""
    with pytest.raises(PipError, match=rf"^reading requirements: {tmp_path}/none.txt: No such file") as caught:
        read(asked(tmp_path, files=("none.txt",)))
    assert caught.value.exit_code == 6
    path = write("r.txt", "a\n-c gone.txt\n")
    with pytest.raises(PipError, match=rf"^reading line 2 of {path}: {tmp_path}/gone.txt: No such file"):
        read(asked(tmp_path, files=("r.txt",)))
    with pytest.raises(PipError, match="Is a directory"):
        read(asked(tmp_path, files=(".",)))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff-r next.txt\n".encode("utf-8-sig"),
        "-r next.txt\n".encode("utf-16"),
        "-r next.txt\n".encode("utf-32"),
        "\ufeff-r next.txt\n".encode("utf-16-be"),
        "# coding: latin-1\n# \xe9\n-r next.txt\n".encode("latin-1"),
        "# \xe9\n-r next.txt\n".encode(),
        b"-r next.txt",
        b"-r\\\n next.txt\r\n",
        b"  --requ\\\nirement \\\n  next.txt  # why\n",
        b"a \\\n# a comment\n-r next.txt",
        b"a \\\n-r next.txt",
        b"--requirem=next.txt\n",
        b"-r 'next.txt'\n",
        b"-r 'next.txt\n",
        b"--frobnicate -r next.txt\n",
        b"a -r next.txt\n",
        b"-c next.txt -r other.txt\n",
        b"--pre -r next.txt\n",
        b"a\x0c-r next.txt\n",
        b"# -r next.txt\n#\\\n-r next.txt",
        b"--no-index \\",
    ],
)
@pytest.mark.usefixtures("quiet")
def test_files_are_found_as_pip_finds_them(tmp_path: Path, write: Write, text: bytes) -> None:
    """pip's own parser is asked which files it reads; one that it refuses is refused by it later."""
    name = write("r.txt", text)
    write("next.txt", "b\n")
    write("other.txt", "c\n")
    opened: list[str] = []
    original = req_file.get_file_content

    def get_file_content(url: str, session: PipSession, **more: bool) -> tuple[str, str]:
        opened.append(url)
        return original(url, session, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(req_file, "get_file_content", get_file_content)
        with PipSession() as session:
            try:
                list(req_file.parse_requirements(name, session))
            except req_file.RequirementsFileParseError:
                return
    assert [each.path for each in read(asked(tmp_path, files=(name,))).inputs] == sorted(opened)


def test_an_unknown_coding(tmp_path: Path, write: Write) -> None:
    """pip is who complains."""
    write("r.txt", b"# coding: nonsense\n-r \xff.txt\n# coding: x")
    with pytest.raises(PipError, match="No such file"):
        read(asked(tmp_path, files=("r.txt",)))
