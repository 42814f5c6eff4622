"""Every task from the command line, and every combination that is none: one line, code 2, nothing left behind."""

import json
from pathlib import Path

import pytest
import torch
from commands import refused

from phonofilm.cli import main
from phonofilm.files.media import read_clip, read_manifest, read_wave, write_clip, write_wave
from phonofilm.types import Clip

WORDS = ["--scene", "a woman", "--say", "set white"]
TWO = ["--say", "left: set white", "--say", "right: bin blue"]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Files to give: clips of 17 pixel frames and of half a second, sounds of half a second and of two."""
    folder = tmp_path_factory.mktemp("inputs")
    generator = torch.Generator().manual_seed(0)

    def clip(frames, *, samples, fps=24.0, size=(32, 64)):
        coarse = torch.rand(frames, 3, 4, 4, generator=generator)
        video = (torch.nn.functional.interpolate(coarse, size) * 255).to(torch.uint8)
        audio = 0.4 * torch.sin(torch.arange(samples) / 16000 * 1300)[None]
        return Clip(video=video, audio=audio, fps=fps, sample_rate=16000)

    write_clip(folder / "talk.mp4", clip(17, samples=11333))
    write_clip(folder / "talk20.mp4", clip(20, samples=13333))
    write_clip(folder / "start.mp4", clip(10, samples=6667))
    write_clip(folder / "mute.mp4", clip(17, samples=0))
    write_clip(folder / "brief.mp4", clip(5, samples=0))
    write_clip(folder / "long.mp4", clip(48, samples=32000))
    write_clip(folder / "tall.mp4", clip(30, samples=0, fps=30.0, size=(96, 48)))
    write_clip(folder / "blink.mp4", clip(1, samples=200))
    for name, samples in (("half", 8000), ("one", 16000), ("two", 32000)):
        write_wave(folder / f"{name}.wav", clip(1, samples=samples).audio, 16000)
    (folder / "broken.mp4").write_bytes((folder / "talk.mp4").read_bytes()[:300])
    return folder


@pytest.fixture
def run(versatile_folder, inputs, tmp_path, monkeypatch, capsys):
    """Run generate in an empty folder; names of given files are found. Returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, model=("--model", str(versatile_folder), "--recipe", "models:every_task")):
        code, known = 0, {path.name: str(path) for path in inputs.iterdir()}
        places = [f"{name}={known[path]}" for a in arguments for name, _, path in [a.partition("=")] if path in known]
        named = {place.split("=")[0] + "=" + Path(place.split("=")[1]).name: place for place in places}
        words = [known.get(a, named.get(a, a)) for a in arguments]
        try:
            main(["generate", *words, *model])
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("arguments", "task", "note"),
    [
        (["--audio", "half.wav"], "a2v", "the sound ends at 0.50 s, then it is silent until 0.71 s"),
        (["--video", "mute.mp4"], "v2a", ""),
        (["--video", "talk.mp4"], "v2a", "the video's own sound is not used"),
        (["--continue", "start.mp4"], "continue", "pictures from 0.375 to 0.708 s, sound from 0.416 to 0.708 s"),
        (["--clip", "talk.mp4", "--retake", "0.3:0.5"], "retake", "pictures from 0.208 to 0.542 s, sound from 0.288"),
        (["--voice", "half.wav"], "t2av+voice", ""),
        (["--only", "video"], "t2v", ""),
    ],
)
def test_every_task(run, arguments, task, note):
    code, out, err = run(*WORDS, *arguments, "-o", "made.mp4")
    assert (code, out) == (0, "made.mp4\n"), err
    assert note in err
    assert bool(note) == bool(err)
    manifest = read_manifest("made.mp4")
    assert manifest["task"] == task
    assert note in " ".join(manifest["notes"])
    clip = read_clip("made.mp4")
    assert len(clip.video) == 17
    assert bool(clip.audio.shape[1]) == (task != "t2v")


def test_sound_alone_is_a_wav_with_a_manifest(run):
    code, out, err = run(*WORDS, "--only", "audio", "--seed", "3")
    assert (code, out, err) == (0, "clip.wav\n", "")
    wave, rate = read_wave("clip.wav")
    assert (wave.shape, rate) == ((1, 11333), 16000)
    assert wave.abs().max() > 0
    manifest = read_manifest("clip.wav")
    assert (manifest["task"], manifest["seed"]) == ("t2a", 3)


def test_given_files_of_other_sizes_and_rates(run):
    code, _, err = run("--video", "tall.mp4", "--seconds", "0.7", "-o", "made.mp4")
    assert code == 0
    assert "pictures of 48 x 96 at 30 fps are fitted to 64 x 32 at 24 fps" in err
    assert "7 pixel frames behind 0.708 s are left out" in err


def test_tasks_in_a_file_of_prompts(run, inputs):
    rows = [
        {"say": ["left: set white"], "voice": f"left={inputs}/half.wav", "name": "voiced"},
        {"video": f"{inputs}/mute.mp4", "name": "dubbed"},
        {"clip": f"{inputs}/talk.mp4", "retake": "0.3:0.5", "name": "retaken", "image": None},
        {"continue": f"{inputs}/start.mp4", "name": "continued"},
        {"audio": f"{inputs}/half.wav", "name": "shown"},
        {"scene": "rain", "only": "audio", "name": "heard"},
    ]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run("--prompts", "prompts.jsonl", "-o", "clips")[0] == 0
    made = {path.name: read_manifest(path)["task"] for path in Path("clips").iterdir()}
    assert made == {
        "voiced.mp4": "t2av+voice",
        "dubbed.mp4": "v2a",
        "retaken.mp4": "retake",
        "continued.mp4": "continue",
        "shown.mp4": "a2v",
        "heard.wav": "t2a",
    }
    times = {path: path.stat().st_mtime_ns for path in Path("clips").iterdir()}
    code, out, err = run("--prompts", "prompts.jsonl", "-o", "clips")
    assert (code, out, err) == (0, "", "")
    assert times == {path: path.stat().st_mtime_ns for path in Path("clips").iterdir()}


BAD = {
    "retake without clip": (["--retake", "0.3:0.5"], ["--retake 0.3:0.5", "--clip"]),
    "clip without retake": (["--clip", "talk.mp4"], ["--retake START:END", "--continue"]),
    "clip and continue": (["--clip", "talk.mp4", "--continue", "talk.mp4"], ["give one"]),
    "no span": (["--clip", "talk.mp4", "--retake", "0.3"], ["--retake '0.3'", "0.5:1.2"]),
    "span in words": (["--clip", "talk.mp4", "--retake", "a:b"], ["--retake 'a:b'"]),
    "reversed span": (["--clip", "talk.mp4", "--retake", "0.5:0.3"], ["retake 0.5:0.3", "before end"]),
    "empty span": (["--clip", "talk.mp4", "--retake", "0.5:0.5"], ["before end"]),
    "nan span": (["--clip", "talk.mp4", "--retake", "nan:0.5"], ["before end"]),
    "span behind": (["--clip", "talk.mp4", "--retake", "0.5:1.2"], ["retake 0.5:1.2", "from 0 to 0.708 s"]),
    "span before": (["--clip", "talk.mp4", "--retake=-1:0.3"], ["retake -1:0.3", "from 0 to 0.708 s"]),
    "span that is cut off": (["--clip", "talk20.mp4", "--retake", "0.72:0.8"], ["0.833 s", "first 0.708 s are used"]),
    "retake of a mute clip": (["--clip", "mute.mp4", "--retake", "0.3:0.5"], ["no sound", "give it as video"]),
    "continue a mute clip": (["--continue", "mute.mp4"], ["no sound"]),
    "continue a blink": (["--continue", "blink.mp4"], ["too short to go on from"]),
    "nothing to continue": (["--continue", "talk.mp4"], ["nothing is left to make", "more seconds"]),
    "continue a long clip": (["--continue", "long.mp4"], ["2.000 s", "nothing is left to make"]),
    "retake of a long clip": (["--clip", "long.mp4", "--retake", "0.3:0.5"], ["2.00 s", "0.71 to 1.38 s", "cut it"]),
    "other length": (["--continue", "start.mp4", "--seconds", "5"], ["5 seconds", "0.71 to 1.38 s"]),
    "long audio": (["--audio", "two.wav"], ["2.00 s", "would have to last 2.04 s", "0.71 to 1.38 s"]),
    "audio over seconds": (["--audio", "one.wav", "--seconds", "0.7"], ["last 1.04 s", "ask for 1.04 seconds"]),
    "short video": (["--video", "brief.mp4"], ["0.21 s", "0.71 to 1.38 s", "give a longer one"]),
    "video under seconds": (["--video", "mute.mp4", "--seconds", "1.3"], ["0.71 s", "1.38 s", "fewer seconds"]),
    "long video": (["--video", "long.mp4"], ["2.00 s", "0.71 to 1.38 s", "cut it"]),
    "video and other audio": (["--video", "mute.mp4", "--audio", "two.wav"], ["0.71 s", "2.00 s", "do not belong"]),
    "video and audio": (["--video", "long.mp4", "--audio", "two.wav"], ["both given", "nothing is left"]),
    "clip and audio": (["--continue", "start.mp4", "--audio", "half.wav"], ["its own pictures and sound", "audio"]),
    "clip and video": (["--continue", "start.mp4", "--video", "mute.mp4"], ["its own pictures and sound", "video"]),
    "video without pictures": (["--video", "half.wav"], ["half.wav", "no picture"]),
    "audio without sound": (["--audio", "mute.mp4"], ["mute.mp4", "no sound"]),
    "no video": (["--video", "none.mp4"], ["none.mp4", "no such file"]),
    "no audio": (["--audio", "none.wav"], ["none.wav", "no such file"]),
    "no clip": (["--continue", "none.mp4"], ["none.mp4", "no such file"]),
    "no voice": (["--voice", "none.wav"], ["none.wav", "no such file"]),
    "broken video": (["--video", "broken.mp4"], ["broken.mp4", "no picture"]),
    "text for audio": (["--audio", __file__], [Path(__file__).name, "cannot be decoded"]),
    "folder for audio": (["--audio", "."], ["it is a folder"]),
    "voice of somebody": (["--voice", "left=half.wav"], ["'left'", "says nothing", "one without a name"]),
    "voice of a third": ([*TWO, "--voice", "mid=half.wav"], ["'mid'", "says nothing", "'left', 'right'"]),
    "two voices": ([*TWO, "--voice", "left=half.wav", "--voice", "left=one.wav"], ["2 voices for 'left'"]),
    "two voices of one": (["--voice", "half.wav", "--voice", "one.wav"], ["2 voices for one speaker"]),
    "a voice for two": ([*TWO, "--voice", "half.wav"], ["2 speakers (left, right)", "one reference voice only"]),
    "one voice of two": ([*TWO, "--voice", "left=half.wav"], ["one reference voice only", "leave the voice out"]),
    "voices of two": ([*TWO, "--voice", "left=half.wav", "--voice", "right=one.wav"], ["one reference", "nava_pocket"]),
    "voice in silence": (["--say", "", "--voice", "half.wav"], ["nobody says anything"]),
    "one name of two": (["--say", "left: set white", "--say", "bin blue"], ["'bin blue'", "who says it"]),
    "name without words": (["--say", "left:"], ["left says nothing"]),
    "only what": (["--only", "pictures"], ["'pictures'", "'video' or 'audio'"]),
    "only audio of a picture": (["--only", "audio", "--image", "none.png"], ["none.png"]),
    "only audio of a video": (["--only", "audio", "--video", "mute.mp4"], ["only audio", "video is given"]),
    "only video to audio": (["--only", "video", "--audio", "half.wav"], ["only video", "audio is given"]),
    "sound as mp4": (["--only", "audio", "-o", "x.mp4"], ["x.mp4", ".wav"]),
    "video as wav": (["-o", "x.wav"], ["x.wav", ".mp4"]),
    "no such combination": (
        ["--voice", "half.wav", "--video", "mute.mp4"],
        ["not trained for v2a+voice", "from video"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(run, name):
    arguments, parts = BAD[name]
    words = ["--scene", "a woman"] if "--say" in arguments else WORDS
    refused(run(*words, *arguments), *parts)


def test_given_files_are_not_overwritten(run, inputs):
    Path("clip.mp4").write_bytes((inputs / "talk.mp4").read_bytes())
    code, out, err = run(*WORDS, "--clip", "./clip.mp4", "--retake", "0.3:0.5")
    assert (code, out) == (2, "")
    assert "would be overwritten" in err
    assert Path("clip.mp4").read_bytes() == (inputs / "talk.mp4").read_bytes()


def test_a_model_says_what_it_was_trained_for(run, model_folder):
    result = run(*WORDS, "--audio", "half.wav", model=("--model", str(model_folder)))
    line = "jova_study was not trained for a2v (from audio); it can make t2av (from a prompt alone), i2av (from image)"
    refused(result, line)
    result = run(*WORDS, "--only", "audio", model=("--model", str(model_folder)))
    refused(result, "not trained for t2a (from a prompt alone, without video)")


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"say": [1]}, "say [1]: text or a list of texts is wanted"),
        ({"say": "x", "voice": 3}, "voice 3"),
        ({"scene": "x", "retake": 3}, "retake 3: text is wanted"),
        ({"scene": "x", "retake": "0.1:0.2"}, "--clip"),
        ({"scene": "x", "continu": "x"}, "did you mean 'continue'?"),
        ({"scene": "x", "only": "both"}, "only 'both'"),
        ({"scene": "x", "video": "none.mp4"}, "none.mp4"),
    ],
)
def test_a_bad_line_is_named(run, row, part):
    Path("prompts.jsonl").write_text(json.dumps(row))
    refused(run("--prompts", "prompts.jsonl", "-o", "clips"), "prompts.jsonl, line 1", part)
