"""A law: public entry points let no exception but ``UserError`` out, whatever the files that they are given."""

import os
import random
from pathlib import Path

import pytest
import torch
from PIL import Image

import phonofilm
from phonofilm.checkpoints.folder import read_weights
from phonofilm.checkpoints.importing import import_weights
from phonofilm.checkpoints.importing_codecs import import_codec
from phonofilm.checkpoints.importing_mmaudio import pickled
from phonofilm.cli.describe import show
from phonofilm.cli.generate import read_lines
from phonofilm.errors import UserError
from phonofilm.files.media import read_manifest, read_wave, write_clip, write_wave
from phonofilm.generation.prompt_sets import portraits, seed_tts, verse_bench, write_rows
from phonofilm.puppets.corpus import Corpus, contact_sheet, make, read_truth
from phonofilm.puppets.prompt_file import write_prompts
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import Clip

CLIP = Clip(video=torch.zeros(5, 3, 32, 32, dtype=torch.uint8), audio=torch.zeros(1, 3200), fps=25.0, sample_rate=16000)
READERS = {
    "load": lambda path: phonofilm.load(str(path)),
    "read_clip": phonofilm.read_clip,
    "read_image": phonofilm.read_image,
    "read_wave": read_wave,
    "read_manifest": read_manifest,
    "read_weights": read_weights,
    "import": lambda path: import_weights(path, "ovi_paper", path.parent / "never"),
    "show": lambda path: show(str(path)),
    "prompts file": lambda path: read_lines(path, path.parent),
    "verse_bench": verse_bench,
    "seed_tts": seed_tts,
    "portraits": portraits,
    "read_truth": read_truth,
    "contact_sheet": contact_sheet,
    "write_prompts": write_prompts,
    "import qwen": lambda path: import_codec("qwen_mel", path, path.parent / "never"),
    "pickled": lambda path: pickled(path / "v1-16.pth" if os.path.isdir(path) else path),  # noqa: PTH112
}
WRITERS = {
    "write_clip": lambda path: write_clip(path, CLIP),
    "write_wave": lambda path: write_wave(path, CLIP.audio, 16000),
    "write_rows": lambda path: write_rows([{"name": "x"}], path),
    "make": lambda path: make(path, Corpus(clips=1, size=32, num_frames=5)),
}
NOISE = random.Random(0).randbytes(4000)
CONTENTS = {
    "empty": b"",
    "noise": NOISE,
    "text": "nonsense ü\n".encode() * 50,
    "latin": b"\xff\xfe\xe9 caf\xe9\n",
    "json": b'{"a": [1, {"b": null}], "format": "x"}',
    "list": b"[[1]]",
    "deep": b"[" * 100_000,
    "number": b"1" * 5000,
    "nan": b"NaN",
    "parquet": b"PAR1" + NOISE + b"PAR1",
    "riff": b"RIFF\x24\x00\x00\x00WAVEfmt " + NOISE[:40],
    "png": b"\x89PNG\r\n\x1a\n" + NOISE,
    "safetensors": (20).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}' + NOISE,
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94.",
}
NAMES = (
    *("experiment.json", "model_index.json", "config.json", "x.json", "meta.lst", "corpus.json", "truth.parquet"),
    *("transformer/diffusion_pytorch_model.safetensors", "model.safetensors", "model.safetensors.index.json"),
    *("vae/config.json", "parts/0.parquet", "v1-16.pth", "best_netG.pt", "v1-44.pth", "bigvgan_generator.pt"),
)
"""Files of the folders that some entry point reads."""


def places(tmp_path):
    """Broken files, and folders whose every file is broken in one way."""
    for name, content in CONTENTS.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
        yield tmp_path / f"{name}.mp4"
        for file in NAMES:
            path = tmp_path / f"folder {name}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield tmp_path / f"folder {name}"
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "nothing").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    yield from (tmp_path / name for name in ("loop.mp4", "nothing", "pipe.mp4", "none", "empty.mp4/below", "x" * 300))
    yield from (Path("a\0b"), Path("/dev/null"), Path("\udcff"), Path("-"), Path())


def broken(read, path):
    """What is wrong with how a reader refuses a broken place; "" where nothing is."""
    try:
        read(path)
    except UserError as error:
        return "" if str(error).strip() else "says nothing"
    except Exception as error:
        return f"lets {error!r} out"
    return "takes what is broken"


@pytest.mark.parametrize("name", READERS)
def test_readers_let_only_errors_for_people_out(name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for path in places(tmp_path):
        problem = broken(READERS[name], path)
        assert not problem, f"{name} of {path!r} {problem}"
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("name", WRITERS)
def test_writers_let_only_errors_for_people_out(name, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    os.mkfifo(tmp_path / "pipe")
    for path in ("file/below/x", "pipe/x", "a\0b", "x" * 300 + "/x", *(() if name == "make" else ("full", "pipe"))):
        with pytest.raises(UserError):
            WRITERS[name](tmp_path / path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "pipe"]


@pytest.mark.parametrize("name", ["", "a:b", "os:path", "os:getcwd", "models:none", "a\0b", ":", "x:y:z", "."])
def test_recipes_let_only_errors_for_people_out(name):
    with pytest.raises(UserError):
        find_recipe(name)


def test_pictures_let_only_errors_for_people_out(tmp_path):
    Image.frombytes("RGB", (36, 36), NOISE[: 3 * 36 * 36]).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for share in range(1, 40):
        (tmp_path / "x.png").write_bytes(content[: len(content) * share // 40])
        with pytest.raises(UserError):
            phonofilm.read_image(tmp_path / "x.png")
