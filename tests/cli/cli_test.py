"""The command line: what works works, and what does not says so in one line, with code 2 and nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refused
from PIL import Image

from phonofilm.cli import main
from phonofilm.cli.prepare import read_stages
from phonofilm.files import media
from phonofilm.files.media import read_clip, read_manifest
from phonofilm.generation import checks

WORDS = ["--scene", "a woman with red hair", "--say", "set white with blue soon"]


@pytest.fixture
def run(model_folder, tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, model=True):
        code = 0
        try:
            main([*arguments, *(["--model", str(model_folder), "--steps", "1"] if model else [])])
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


def test_words_to_a_clip(run):
    code, out, err = run("generate", *WORDS, "--seed", "7", "-o", "new/talk.mp4")
    assert (code, out, err) == (0, "new/talk.mp4\n", "")
    clip, manifest = read_clip("new/talk.mp4"), read_manifest("new/talk.mp4")
    assert clip.video.shape == (49, 3, 128, 128)
    assert abs(clip.audio.shape[1] / clip.sample_rate - clip.seconds) < 1 / clip.fps
    assert manifest["prompt"]["speech"] == [["", "set white with blue soon"]]
    assert (manifest["seed"], manifest["steps"], manifest["recipe"]) == (7, 1, "jova_study")
    assert [p.name for p in Path("new").iterdir()] == ["talk.mp4"]


def test_same_seed_same_file(run):
    run("generate", *WORDS, "-o", "a.mp4")
    run("generate", *WORDS, "-o", "b.mp4")
    run("generate", *WORDS, "-o", "c.mp4", "--seed", "1")
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert not torch.equal(read_clip("a.mp4").video, read_clip("c.mp4").video)


def test_one_line_prompt_portrait_and_manifest(run):
    Image.fromarray(np.full((60, 40, 3), 128, np.uint8)).save("me.png")
    line = 'a man says "set white soon"'
    code, out, err = run(
        "generate", "--prompt", line, "--image", "me.png", "--json", "--guidance", "2", "--seconds", "2"
    )
    manifest = json.loads(out)
    assert (code, manifest) == (0, read_manifest("clip.mp4"))
    assert manifest["prompt"]["scene"] == "a man"
    assert manifest["task"] == "i2av"
    assert manifest["guidance"] == [[2.0, 2.0]]
    assert err == ""


def test_words_unlike_the_training_data_are_one_warning(run):
    code, _, err = run("generate", "--scene", "a red dragon", "-o", "x.mp4")
    assert code == 0
    assert err.count("\n") == 1
    assert "never read 'dragon'" in err
    assert read_manifest("x.mp4")["warnings"] == ["in training the model never read 'dragon'"]


def test_sound_that_is_wrong_is_said_and_recorded(run, monkeypatch):
    monkeypatch.setattr(checks, "SILENT", 2.0)
    _, _, err = run("generate", *WORDS, "-o", "x.mp4")
    assert "silent" in err
    assert "silent" in read_manifest("x.mp4")["warnings"][0]


def test_nan_is_not_written(run, monkeypatch):
    decode = "phonofilm.codecs.audio.AudioCodec.decode"
    monkeypatch.setattr(decode, lambda self, latents: torch.full((len(latents), 1, 256 * latents.shape[-1]), torch.nan))
    refused(run("generate", *WORDS, "-o", "x.mp4"), "NaN")


def test_a_crash_while_writing_leaves_nothing(run, monkeypatch):
    def crash(stream, clip):
        raise OSError("disk full")

    monkeypatch.setattr(media, "_encode_audio", crash)
    refused(run("generate", *WORDS, "-o", "x.mp4"), "cannot write x.mp4: disk full")
    assert not list(Path.cwd().iterdir())


BAD = {
    "empty prompt": (["generate"], ["empty"]),
    "blank prompt": (["generate", "--prompt", "  ", "--say", " "], ["empty"]),
    "open quote": (["generate", "--prompt", 'a man says "hi'], ["not closed"]),
    "both ways": (["generate", "--prompt", "a man", "--scene", "a man"], ["not both"]),
    "long speech": (["generate", "--say", "set white with blue soon now " * 4], ["too long", "need a clip of 7.7 s"]),
    "no portrait": (["generate", *WORDS, "--image", "none.png"], ["none.png", "no such file"]),
    "not a portrait": (["generate", *WORDS, "--image", __file__], ["cli_test.py", "not a picture"]),
    "out is no mp4": (["generate", *WORDS, "-o", "x.avi"], ["x.avi", "mp4"]),
    "out under a file": (["generate", *WORDS, "-o", f"{__file__}/x.mp4"], ["cannot write"]),
    "negative seconds": (["generate", *WORDS, "--seconds", "-1"], ["--seconds -1.0", "from 0.01 to 600"]),
    "endless seconds": (["generate", *WORDS, "--seconds", "inf"], ["--seconds inf"]),
    "nan seconds": (["generate", *WORDS, "--seconds", "nan"], ["--seconds nan"]),
    "other length": (["generate", *WORDS, "--seconds", "10"], ["10 seconds", "2.04 s"]),
    "no steps": (["generate", *WORDS, "--steps", "0"], ["--steps 0", "from 1 to 1000"]),
    "huge steps": (["generate", *WORDS, "--steps", "100000"], ["--steps 100000"]),
    "negative guidance": (["generate", *WORDS, "--guidance", "-2"], ["--guidance -2"]),
    "huge guidance": (["generate", *WORDS, "--guidance", "1e9"], ["--guidance 1000000000.0"]),
    "negative seed": (["generate", *WORDS, "--seed", "-1"], ["--seed -1", "from 0"]),
    "huge seed": (["generate", *WORDS, "--seed", "9" * 30], ["--seed 999"]),
    "seed in words": (["generate", *WORDS, "--seed", "one"], ["--seed", "'one'"]),
    "strange letters": (["generate", "--say", "größe 日本"], ["'日'", "plain English"]),
    "unknown flag": (["generate", *WORDS, "--sead", "1"], ["--sead", "did you mean --seed?"]),
    "flag without value": (["generate", "--scene"], ["--scene"]),
    "unknown command": (["generat", *WORDS], ["did you mean 'generate'?"]),
    "no command": ([], ["generate"]),
    "no device": (["generate", *WORDS, "--device", "cuda:77"], ["cuda:77", "cpu"]),
    "strange device": (["generate", *WORDS, "--device", "gpu"], ["gpu", "cpu"]),
    "no prompts file": (["generate", "--prompts", "none.jsonl"], ["none.jsonl"]),
    "prompts and words": (["generate", "--prompts", "none.jsonl", *WORDS], ["--scene", "none.jsonl"]),
    "puppets of nothing": (["puppets", "make", "x", "--clips", "0"], ["--clips 0"]),
    "puppets without folder": (["puppets", "make", "--clips", "3"], ["FOLDER"]),
    "puppets of what": (["puppets", "mak", "x"], ["did you mean 'make'?"]),
    "sheet of nothing": (["puppets", "show", "x"], ["x: no puppets in it"]),
    "sheet as jpeg": (["puppets", "show", "x", "-o", "sheet.jpg"], ["sheet.jpg", "png"]),
    "evaluate without workers": (["evaluate", "x", "--workers", "0"], ["--workers 0"]),
    "show what": (["show", "jova_pock"], ["unknown model 'jova_pock'"]),
    "unknown recipe": (["generate", *WORDS, "--recipe", "jova_poket"], ["did you mean 'jova_pocket'?"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(run, name):
    arguments, parts = BAD[name]
    refused(run(*arguments, model=arguments[:1] == ["generate"] and "--steps" not in arguments), *parts)


def test_unknown_models_are_named(run, tmp_path, monkeypatch, model_folder):
    monkeypatch.setattr("phonofilm.generation.pipeline.SHIPPED", model_folder.parent)
    refused(run("generate", *WORDS, "--model", "randon", model=False), "'randon'", "did you mean 'random'?")
    (tmp_path / "empty").mkdir()
    refused(run("generate", *WORDS, "--model", "empty", model=False), "no model in empty")


def test_out_is_a_folder(run):
    Path("x.mp4").mkdir()
    code, _, err = run("generate", *WORDS, "-o", "x.mp4")
    assert (code, err.count("\n")) == (2, 1)
    assert "is a folder" in err


def write_prompts(*rows):
    Path("prompts.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


def test_a_file_of_prompts_can_be_resumed(run):
    rows = [
        {"scene": "a woman", "say": "set white", "seed": 4, "name": "first"},
        {"prompt": 'a man says "blue now"', "seconds": 2.04},
        {"scene": "red hair", "negative": "blue", "sound": ""},
    ]
    write_prompts(*rows)
    code, out, err = run("generate", "--prompts", "prompts.jsonl", "-o", "clips", "--json")
    assert (code, err) == (0, "")
    names = ["00002.mp4", "00003.mp4", "first.mp4"]
    assert sorted(p.name for p in Path("clips").iterdir()) == names
    assert [json.loads(line)["seed"] for line in out.splitlines()] == [4, 0, 0]
    before = {name: Path("clips", name).stat().st_mtime_ns for name in names}
    Path("clips/00002.mp4").unlink()
    write_prompts(*rows[:2], {**rows[2], "seed": 9})
    run("generate", "--prompts", "prompts.jsonl", "-o", "clips")
    after = {name: Path("clips", name).stat().st_mtime_ns for name in names}
    assert [name for name in names if after[name] != before[name]] == ["00002.mp4", "00003.mp4"]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"scene": "x", "sed": 1}, "did you mean 'seed'?"),
        ({"scene": 3}, "scene 3"),
        ({"scene": "x", "seed": 1.5}, "seed 1.5"),
        ({"scene": "x", "seed": None}, "seed None"),
        ({"scene": "x", "seconds": "2"}, "seconds '2'"),
        ({"scene": "x", "name": "../up"}, "../up"),
        ({"scene": "x", "image": "none.png"}, "none.png"),
        ({"scene": "x", "image": 7}, "image 7"),
        ({"scene": ""}, "empty"),
        ([1], "a JSON object"),
    ],
)
def test_a_bad_line_is_named(run, row, part):
    write_prompts({"scene": "a woman"}, row)
    refused(run("generate", "--prompts", "prompts.jsonl", "-o", "clips"), "prompts.jsonl, line 2", part)


def test_two_lines_of_one_name_and_no_lines(run):
    write_prompts({"scene": "a woman", "name": "x"}, {"scene": "a man", "name": "x.mp4"})
    refused(run("generate", "--prompts", "prompts.jsonl"), "two lines are named x.mp4")
    write_prompts()
    refused(run("generate", "--prompts", "prompts.jsonl"), "holds no prompt")


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom phonofilm.cli import main\n"
        "try: main(['generate', '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    words = "scene say sound negative prompt image seconds steps guidance model device seed out json prompts"
    for flag in words.split():
        assert f"--{flag} " in result.stdout
    assert "-o PATH" in result.stdout


def test_puppets_are_made_and_shown(run):
    code, out, err = run(
        "puppets", "make", "p", "--clips", "1", "--size", "32", "--frames", "5", "--stage", "rain", model=False
    )
    assert (code, out) == (0, "p: 1 clips made, 1 there\n"), err
    code, out, err = run("puppets", "show", "p", "-o", "sheet.png", model=False)
    assert (code, out) == (0, "sheet.png\n"), err
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 4 * 32


@pytest.mark.parametrize("stages", ["ball", "ball=x", "cat=1", "ball=1,ball=2", "ball=0", "ball=-1"])
def test_strange_stages_are_refused_before_anything_is_made(run, stages):
    out = ("--codecs", "no", "--out", "made", "--clips", "1")
    refused(run("prepare", *out, "--stages", stages, model=False), f"--stages {stages}")
    assert not Path("made").exists()


def test_shares_of_stages():
    assert read_stages("speaker=0.5, ball=.5") == {"speaker": 0.5, "ball": 0.5}


def test_a_missing_extra_names_itself(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "phonofilm.puppets.corpus", raising=False)
    refused(run("puppets", "show", "x", model=False), "pyarrow is not installed", "phonofilm[puppets]")
