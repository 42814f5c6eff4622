"""A file of prompts: names, what is in memory, what counts as done and what is left behind."""

import gc
import json
import weakref
from pathlib import Path

import pytest

from phonofilm.cli import generate, main
from phonofilm.errors import UserError
from phonofilm.files.atomic import aside
from phonofilm.generation.pipeline import Pipeline


@pytest.mark.parametrize(
    "name",
    ["", " ", ".mp4", None, 7, True, ["x"], {}, "a/b", "../a", ".a", "..", "a\x00b", "a\x1b[31m", "x" * 201, "é" * 150],
)
def test_names_that_can_name_no_file(name, tmp_path):
    with pytest.raises(UserError, match="the name"):
        generate.read_line(json.dumps({"scene": "x", "name": name}), tmp_path, "00001")


@pytest.mark.parametrize(
    ("name", "file"),
    [("x", "x.mp4"), ("x.mp4", "x.mp4"), ("x.MP4", "x.mp4"), ("x.y", "x.y.mp4"), ("小明 1", "小明 1.mp4")],
)
def test_names_of_files(name, file, tmp_path):
    assert generate.read_line(json.dumps({"scene": "x", "name": name}), tmp_path, "1")[1] == tmp_path / file


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"scene": "a", "scene": "b"}', "the key 'scene' stands there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('["x"]', "a JSON object is wanted"),
    ],
)
def test_lines_that_are_no_prompt(line, said, tmp_path):
    with pytest.raises(UserError, match=said):
        generate.read_line(line, tmp_path, "00001")


def run(model_folder, *arguments):
    main(["generate", "--prompts", "prompts.jsonl", "-o", "clips", "--model", str(model_folder), "--steps", "1"])


@pytest.fixture
def prompts(tmp_path, monkeypatch):
    """A file of three prompts in an empty folder."""
    monkeypatch.chdir(tmp_path)
    rows = [{"scene": f"a woman with {hair} hair", "name": hair} for hair in ("red", "black", "blond")]
    Path("prompts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def test_few_prompts_are_in_memory_at_once(prompts, model_folder, monkeypatch):
    shots, resolve = [], Pipeline.resolve

    def counting(pipeline, request):
        gc.collect()
        assert sum(shot() is not None for shot in shots) <= 1
        shot = resolve(pipeline, request)
        shots.append(weakref.ref(shot))
        return shot

    monkeypatch.setattr(Pipeline, "resolve", counting)
    monkeypatch.setattr(generate, "AT_ONCE", 1)
    run(model_folder)
    assert len(shots) == 6  # every refusal comes first, then each is made
    assert sorted(path.name for path in Path("clips").iterdir()) == ["black.mp4", "blond.mp4", "red.mp4"]


def test_what_was_cut_off_is_made_again_bit_by_bit_and_leftovers_go(prompts, model_folder):
    run(model_folder)
    made = {path.name: path.read_bytes() for path in Path("clips").iterdir()}
    Path("clips/black.mp4").write_bytes(made["black.mp4"][:-100])
    Path("clips/red.mp4").write_bytes(made["red.mp4"][: len(made["red.mp4"]) // 2])
    aside(Path("clips/red.mp4").resolve()).touch()
    kept = Path("clips/blond.mp4").stat().st_mtime_ns
    run(model_folder)
    assert {path.name: path.read_bytes() for path in Path("clips").iterdir()} == made
    assert Path("clips/blond.mp4").stat().st_mtime_ns == kept
