"""A disk that is full or may not be written to: every command says so in one line that names the place."""

import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from phonofilm.cli import main

GOLDEN = Path(__file__).parents[1] / "golden" / "ovi_official.safetensors"
SPOKEN = ("--clips", "1", "--size", "256", "--frames", "60", "--stage", "speaker")


def commands(model, source, made, place):
    """Every command that writes into a place, given what it reads."""
    generate = ("generate", "--scene", "a woman", "--model", str(model), "--steps", "1")
    return {
        "generate": (*generate, "-o", str(place / "x.mp4")),
        "import": ("import", str(source), "--as", "ovi_small:small", "-o", str(place / "model")),
        "puppets make": ("puppets", "make", str(place / "puppets"), *SPOKEN),
        "puppets show": ("puppets", "show", str(made), "-o", str(place / "sheet.png")),
    }


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A checkpoint to import and puppets to show."""
    folder = tmp_path_factory.mktemp("read")
    weights = {n.removeprefix("weights."): t for n, t in load_file(GOLDEN).items() if n.startswith("weights.")}
    save_file(weights, folder / "model.safetensors")
    main(["puppets", "make", str(folder / "made"), *SPOKEN])
    return folder / "model.safetensors", folder / "made"


def run(arguments, capsys):
    capsys.readouterr()
    try:
        main(list(arguments))
    except SystemExit as end:
        return end.code, capsys.readouterr().err
    return 0, ""


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_commands_name_the_place_and_leave_nothing(full_disk, read, model_folder, capsys, how):
    (full_disk / "filler").write_bytes(bytes(120 * 1024))
    if how == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
    for name, arguments in commands(model_folder, *read, full_disk).items():
        code, err = run(arguments, capsys)
        assert (code, err.count("\n")) == (2, 1), (name, err)
        assert err.startswith("phonofilm: ")
        assert str(full_disk) in err
        assert ("No space left" if how == "full" else "ead-only") in err or "cannot write in" in err, err
        left = sorted(str(path.relative_to(full_disk)) for path in full_disk.rglob("*") if path.is_file())
        assert left in (["filler"], ["filler", "puppets/corpus.json"]), name
