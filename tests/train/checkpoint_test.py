"""Checkpoints that were damaged: the one before is taken, and it is said; none whole is refused."""

import shutil

import pytest
from breaking import damage
from training import Noise, tiny

from phonofilm.errors import UserError
from phonofilm.train import checkpoint
from phonofilm.train.loop import Origin, train

CPU = Origin(device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny(steps=4, save_every=2, sample_every=4), Noise(), folder, origin=CPU)
    assert checkpoint.steps_of(folder) == [2, 4]
    return folder


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_checkpoint_gives_way_to_the_one_before(run, tmp_path, capsys, seed):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    files = sorted(path for path in checkpoint.path_of(folder, 4).iterdir())
    damage(files[seed % len(files)], seed)
    train(tiny(steps=4, save_every=2, sample_every=4), Noise(), folder, origin=CPU)
    said = capsys.readouterr().err
    assert "looking for an earlier checkpoint" in said
    assert "the run goes on from step 2" in said
    name = "__0_0.distcp"
    one, other = (checkpoint.path_of(where, 4) / name for where in (run, folder))
    assert one.read_bytes() == other.read_bytes()


def test_a_file_that_is_gone_is_damage(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (checkpoint.path_of(folder, 4) / "SHA256SUMS").unlink()
    train(tiny(steps=4, save_every=2, sample_every=4), Noise(), folder, origin=CPU)
    assert "the run goes on from step 2" in capsys.readouterr().err


def test_a_run_without_a_whole_checkpoint_is_refused(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for step in (2, 4):
        (checkpoint.path_of(folder, step) / "position.json").write_text("{}")
    with pytest.raises(UserError, match="none of the 2 checkpoints .* is whole"):
        train(tiny(steps=4, save_every=2, sample_every=4), Noise(), folder, origin=CPU)


def test_a_copy_of_a_checkpoint_is_none(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    shutil.copytree(checkpoint.path_of(folder, 4), folder / "step-00000004 copy")
    assert checkpoint.steps_of(folder) == [2, 4]


def test_checkpoints_of_the_first_version_are_read(run, tmp_path):
    """They have neither format nor checksums, and owe nothing."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for step in (2, 4):
        path = checkpoint.path_of(folder, step)
        (path / "SHA256SUMS").unlink()
        (path / "position.json").write_text(f'{{"step": {step}, "shards": []}}')
    train(tiny(steps=5, save_every=2, sample_every=5), Noise(), folder, origin=CPU)
    assert checkpoint.steps_of(folder) == [4, 5]
    for path in (checkpoint.path_of(folder, 5), checkpoint.path_of(folder, 4)):
        (path / "position.json").write_text(f'{{"step": {int(path.name[5:])}, "shards": []}}')
        (path / "SHA256SUMS").unlink(missing_ok=True)
    (checkpoint.path_of(folder, 5) / ".metadata").write_bytes(b"no pickle")
    train(tiny(steps=5, save_every=2, sample_every=5), Noise(), folder, origin=CPU)
