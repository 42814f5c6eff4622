"""What the first screen and the package's metadata promise is so."""

import re
import tomllib
from pathlib import Path

import phonofilm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAPERS = ("2512.13677", "2511.03334", "2605.30073", "2603.18600", "2510.01284")


def test_the_version_stands_in_one_place():
    citation = (ROOT / "CITATION.cff").read_text()
    assert "version" in PROJECT["dynamic"]
    assert f"\nversion: {phonofilm.__version__}\n" in citation
    assert f"\n## {phonofilm.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_badges_are_true():
    (line,) = re.findall(r"^\*\*.*\| Python .*$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    version, python, torch, typed, licence = line.split(" | ")
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert version == f"**{phonofilm.__version__}, alpha**"
    assert python == f"Python 3.{low} to 3.{int(high) - 1}"
    (wanted,) = (name for name in PROJECT["dependencies"] if name.startswith("torch>"))
    low, high = re.findall(r"2\.(\d+)", wanted)
    assert torch == f"PyTorch 2.{low} to 2.{int(high) - 1}"
    assert typed == "typed"
    assert (ROOT / "src" / "phonofilm" / "py.typed").is_file()
    assert licence == PROJECT["license"]


def test_every_paper_is_linked_and_cited():
    for name in ("README.md", "CITATION.cff", "pyproject.toml", "docs/systems/index.md"):
        text = (ROOT / name).read_text()
        assert [number for number in PAPERS if f"https://arxiv.org/abs/{number}" not in text] == [], name


def test_the_changelog_has_sections_and_no_results():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^### (.*)$", text, flags=re.MULTILINE) == ["Added", "Changed", "Fixed"]
    assert not re.search(r"\b(WER|F1)\b|0\.\d\d to 0\.\d\d", text)


def test_lines_of_the_log_fit_a_screen():
    lines = (ROOT / "docs" / "log.md").read_text().splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []
