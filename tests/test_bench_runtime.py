"""The runtime benchmark: ratios, verdicts, tables and the plot from given figures; which file system a path is on."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runtime import mount_of, why_no_tmpfs
from runtime_report import PEER, Conditions, Memory, Report, markdown, plot, rows, summary, table

SVG = "{http://www.w3.org/2000/svg}"
MB = 1_000_000


def figures(peer: float, gzip: float, zstd: float) -> dict[str, float]:
    return {PEER: peer, "gzip": gzip, "zstd": zstd}


CONDITIONS = Conditions(
    date="2026-11-21",
    cpu="2 x EPYC",
    kernel="Linux 6.1",
    disk="ext4",
    go="1.26.1",
    python="3.14.6",
    peer="v0.0.0-3.14.6-20260610-1",
    load=0.25,
    missing="",
)
REPORT = Report(
    conditions=CONDITIONS,
    rounds={
        "disk": [
            {"first extraction": figures(1.0, 0.3, 0.2), "warm start, stamp": figures(0.002, 0.0002, 0.0001)},
            {"first extraction": figures(2.0, 0.4, 0.3), "warm start, stamp": figures(0.002, 0.0002, 0.0001)},
            {"first extraction": figures(1.0, 0.9, 0.8), "warm start, stamp": figures(0.002, 0.0002, 0.0001)},
        ],
        "tmpfs": [{"first extraction": figures(1.0, 0.15, 0.1), "first extraction, whole process": figures(2, 1, 1)}],
    },
    memory={
        "disk": {
            PEER: Memory(4 * MB, 40 * MB, 170 * MB, 180 * MB, 6 * MB),
            "gzip": Memory(4 * MB, 20 * MB, 84 * MB, 99 * MB, 5 * MB),
            "zstd": Memory(4 * MB, 20 * MB, 84 * MB + 1, 99 * MB, 5 * MB),
        }
    },
    embedded={PEER: 35 * MB, "gzip": 15 * MB, "zstd": 12 * MB},
    bytecode={PEER: 124, "gzip": 124, "zstd": 0},
)


def test_a_ratio_is_taken_within_its_round() -> None:
    """The median of the ratios counts, not the ratio of the medians (which is 0.4 here), and the peer has none."""
    row = rows(REPORT)[0]
    assert row.seconds == figures(1.0, 0.4, 0.3)
    assert row.ratios == {
        "gzip": {"min": 0.2, "median": pytest.approx(0.3)},
        "zstd": {"min": 0.15, "median": pytest.approx(0.2)},
    }


def test_a_target_is_held_against_the_median_for_gzip() -> None:
    """Equal to the target is met; above it is missed, whatever zstd has; without a target there is no verdict."""
    assert [(row.place, row.what, row.target, row.verdict) for row in rows(REPORT)] == [
        ("disk", "first extraction", 0.35, "met"),
        ("disk", "warm start, stamp", 0.05, "MISSED"),
        ("tmpfs", "first extraction", 0.15, "met"),
        ("tmpfs", "first extraction, whole process", None, ""),
    ]


def test_the_table_has_figures_verdicts_and_notes() -> None:
    """Milliseconds, both ratios of both codecs, memory above the data, bytecode, and how many targets were met."""
    lines = [re.split(r"  +", line) for line in table(REPORT).splitlines()]
    first = ["disk", "first extraction", "1000.0", "400.0", "300.0", "0.200", "0.300", "0.150", "0.200"]
    assert [*first, "≤ 0.35 met"] in lines
    assert [
        "disk",
        "warm start, stamp",
        "2.0",
        "0.200",
        "0.100",
        *["0.100"] * 2,
        *["0.0500"] * 2,
        "≤ 0.05 MISSED",
    ] in lines
    assert ["disk", "gzip", "15.0", "4.0", "20.0", "5.0", "84.0", "64.0", "79.0", "≤ 64 met"] in lines
    assert ["disk", "zstd", "12.0", "4.0", "20.0", "5.0", "84.0", "64.0", "79.0", "≤ 64 MISSED"] in lines
    assert ["disk", "peer", "35.0", "4.0", "40.0", "6.0", "170.0", "130.0", "140.0"] in lines
    assert "leaves in the tree: peer 124, gzip 124, zstd 0." in table(REPORT)
    assert summary(REPORT) == "3 of 5 targets met; missed: warm start, stamp (disk), memory, zstd (disk)."


def test_what_was_left_out_is_said() -> None:
    """A run without tmpfs says so and why, in the table and in the document."""
    missing = "tmpfs was not measured: /x is on ext4"
    report = replace(REPORT, conditions=replace(CONDITIONS, missing=missing), rounds={"disk": REPORT.rounds["disk"]})
    assert "Tmpfs was not measured: /x is on ext4." in table(report)
    assert "Tmpfs was not measured: /x is on ext4." in markdown(report)
    assert "| file systems | ext4 |" in markdown(report)


def test_a_busy_machine_is_said() -> None:
    """From a load average of 1 on, the reader is told what that does to the figures."""
    busy = replace(REPORT, conditions=replace(CONDITIONS, load=1.0))
    assert "busy" not in markdown(REPORT)
    assert "The machine was busy with other work" in markdown(busy)


def test_the_document_has_conditions_and_whole_tables() -> None:
    """Each row of a table has as many cells as its heading; the conditions and the plot are there."""
    text = markdown(REPORT)
    for table_text in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table_text.splitlines()}) == 1
    for words in (
        "2026-11-21",
        "2 x EPYC",
        "Linux 6.1",
        "ext4 and tmpfs",
        "| rounds | 3 |",
        "(runtime-performance.svg)",
    ):
        assert words in text


def test_the_plot_is_drawn_to_scale() -> None:
    """One bar for each ratio but those of whole processes, as long as it says; a mark at each target; one line at 1."""
    svg = ET.fromstring(plot(REPORT))  # noqa: S314 - our own
    bars = [float(one.attrib["width"]) for one in svg.iter(f"{SVG}rect") if one.attrib["width"] != "12"]
    lines = {kind: [] for kind in ("peer", "axis", "target")}
    for line in svg.iter(f"{SVG}line"):
        if float(line.attrib["y1"]) > 50:
            lines[line.attrib["class"]].append(float(line.attrib["x1"]))
    (zero,), (one,) = lines["axis"], lines["peer"]
    assert bars == pytest.approx([(one - zero) * ratio for ratio in (0.3, 0.2, 0.1, 0.05, 0.15, 0.1)], abs=0.1)
    assert lines["target"] == pytest.approx([zero + (one - zero) * target for target in (0.35, 0.05, 0.15)], abs=0.1)
    assert "prefers-color-scheme: dark" in plot(REPORT)


def test_a_ratio_above_one_stays_in_the_picture() -> None:
    """When we are slower than the peer, the scale grows with the bar."""
    slow = {"first run of a script": figures(1.0, 3.0, 0.5)}
    svg = ET.fromstring(plot(replace(REPORT, rounds={"disk": [slow]})))  # noqa: S314 - our own
    ends = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in svg.iter(f"{SVG}rect")]
    assert max(ends) < float(svg.attrib["width"])


def test_json_has_rounds_rows_and_verdicts() -> None:
    """The document survives JSON, with every round's figures and what was made of them."""
    document = json.loads(json.dumps(REPORT.document()))
    assert document["rounds"]["tmpfs"][0]["first extraction"]["gzip"] == 0.15
    assert [row["verdict"] for row in document["rows"]] == ["met", "MISSED", "met", ""]


MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /a tmpfs rw,nosuid,noexec 0 0
tmpfs /with\\040space tmpfs rw 0 0
tmpfs /over tmpfs rw 0 0
overlay /over overlay rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home", "ext4"), ("/abc", "ext4"), ("/a", "tmpfs"), ("/with space/x", "tmpfs"), ("/over/x", "overlay")],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    """The longest mount point counts, of equal ones the last, which is mounted over the others."""
    assert mount_of(Path(path), MOUNTS).type == kind


def test_what_is_no_tmpfs_is_not_measured(tmp_path: Path) -> None:
    """A directory that is missing, on another file system, or mounted noexec is none, and the reason is given."""
    missing, here = tmp_path / "missing", tmp_path.resolve()
    assert why_no_tmpfs(missing, MOUNTS) == f"{missing} is not a directory"
    assert why_no_tmpfs(here, MOUNTS) == f"{here} is on ext4"
    assert why_no_tmpfs(here, f"tmpfs {here} tmpfs rw,noexec 0 0") == f"{here} is mounted noexec"
    assert why_no_tmpfs(here, f"tmpfs {here} tmpfs rw 0 0") == ""
