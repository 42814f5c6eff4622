"""Runs that are killed at any moment and go on: what comes of them is what would have come without, to the last bit."""

import json
import random
from dataclasses import replace

import pytest
import torch
from breaking import content, in_child
from training import CODES, GEOMETRY, Noise, tiny

from phonofilm.data.cache import Cache, Meta
from phonofilm.data.shards import write_shard
from phonofilm.errors import UserError
from phonofilm.train import checkpoint
from phonofilm.train.log import RECENT, settled
from phonofilm.train.loop import Origin, Watch, train
from phonofilm.train.validate import LOSS, validation

CPU = Origin(device="cpu")
STEPS = 9


def written(folder):
    """A hook that leaves a file of each look."""

    def hook(step, backbone):
        (folder / f"look-{step}").write_text(str(next(backbone.parameters()).double().sum().item()))
        return {}

    return hook


def whole_run(folder):
    """A run with looks; its mean weights are kept beside its checkpoints."""
    experiment = tiny(steps=STEPS, save_every=3, sample_every=4)
    folder.mkdir(exist_ok=True)
    watch = Watch(every=(validation(experiment, Noise(), clips=4), written(folder)), best=LOSS)
    weights = train(experiment, Noise(), folder, watch=watch, origin=CPU)
    torch.save(weights, folder / "weights.pt")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run that nothing happens to: what it leaves, and how many file operations it takes."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    killed, code, operations = in_child(lambda: whole_run(folder), folder)
    assert (killed, code) == (0, 0)
    return content(folder), operations


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_that_was_killed_at_any_moment_ends_the_same(reference, tmp_path, seed):
    """Twice killed: looks, records, the best checkpoint, its weights; and nothing is left behind."""
    expected, operations = reference
    folder, rng = tmp_path / "run", random.Random(seed)
    for _ in range(2):
        killed, code, _ = in_child(lambda: whole_run(folder), folder, kill_at=rng.randrange(1, operations // 2))
        assert killed or code == 0
    assert in_child(lambda: whole_run(folder), folder)[:2] == (0, 0)
    found = content(folder)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


class Killed(BaseException):
    """The process ends here."""


def test_a_look_that_was_cut_short_is_made_when_the_run_goes_on(tmp_path):
    looks = []

    def seen(step, backbone):
        looks.append(step)
        if len(looks) == 1:
            raise Killed
        return {"val": {2: 1.0, 4: 3.0}[step]}

    watch = Watch(every=(seen,), best="val")
    experiment = tiny(steps=4, save_every=2, sample_every=2)
    with pytest.raises(Killed):
        train(experiment, Noise(), tmp_path, watch=watch, origin=CPU)
    train(experiment, Noise(), tmp_path, watch=watch, origin=CPU)
    train(experiment, Noise(), tmp_path, watch=watch, origin=CPU)
    assert looks == [2, 2, 4]
    assert checkpoint.best_of(tmp_path) == (2, 1.0)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row.get("look")] == [2, 4]


def test_a_figure_that_is_no_number_stops_the_run(tmp_path):
    watch = Watch(every=(lambda step, backbone: {"val": float("nan")},), best="val")
    with pytest.raises(UserError, match=r"val is nan at step 2, .* checkpoint is kept"):
        train(tiny(steps=4, sample_every=2), Noise(), tmp_path, watch=watch, origin=CPU)
    mended = Watch(every=(lambda step, backbone: {"val": 1.0},), best="val")
    train(tiny(steps=4, sample_every=2), Noise(), tmp_path, watch=mended, origin=CPU)
    assert checkpoint.best_of(tmp_path) == (2, 1.0)


def test_logged_losses_are_means_over_the_pieces(tmp_path):
    def first(step, backbone):
        raise Killed

    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    settings = {"steps": RECENT, "save_every": RECENT - 2}
    train(tiny(**settings, sample_every=RECENT), Noise(), whole, origin=CPU)
    stop = Watch(every=(first,))
    with pytest.raises(Killed):
        train(tiny(**settings, sample_every=RECENT - 2), Noise(), pieces, watch=stop, origin=CPU)
    train(tiny(**settings, sample_every=RECENT), Noise(), pieces, origin=CPU)
    rows = [list(map(json.loads, (folder / "log.jsonl").read_text().splitlines())) for folder in (whole, pieces)]
    losses = [[row["loss/video"] for row in some if "loss/video" in row] for some in rows]
    assert len(losses[0]) == 1
    assert losses[0] == losses[1]


def test_what_is_logged_after_the_checkpoint_is_made_again(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2, "loss/video": 1.0}\n{"step": 2, "look": true, "val": 3.0}\n{"step": 3}\n{"ste')
    assert settled(log, 2) == {2: {"val": 3.0}}
    assert log.read_text() == '{"step": 2, "loss/video": 1.0}\n{"step": 2, "look": true, "val": 3.0}\n'


def cache(folder, seed):
    meta = Meta(
        geometry=GEOMETRY,
        codes=CODES,
        codec="0123",
        recipe="tiny",
        regions=("sounding",),
        source={"split": "train", "seed": seed},
    )
    meta.write(folder)
    write_shard(Noise(), folder, 5, 0)
    return Cache.open(folder)


def test_a_run_goes_on_with_its_own_data(tmp_path):
    run, one, other = tmp_path / "run", cache(tmp_path / "one", 0), cache(tmp_path / "other", 5)
    train(tiny(steps=1), one, run, origin=CPU)
    with pytest.raises(UserError, match=r"run on the clips of .*/one, these are others \(data.seed 0, now 5\)"):
        train(tiny(steps=2), other, run, origin=CPU)
    (tmp_path / "one").rename(tmp_path / "moved")
    train(tiny(steps=2), Cache.open(tmp_path / "moved"), run, origin=CPU)
    for changed in (
        {"watch": Watch(held_out={"val": {"seed": 1}})},
        {"origin": replace(CPU, name="other weights")},
    ):
        with pytest.raises(UserError, match="holds a run with"):
            train(tiny(steps=3), Cache.open(tmp_path / "moved"), run, **({"origin": CPU} | changed))


def test_a_second_run_in_a_folder_is_told_who_is_there(tmp_path):
    told = []

    def second(step, backbone):
        with pytest.raises(UserError, match=r"is held by phonofilm train \(process \d+ on .*\): wait") as error:
            train(tiny(steps=1), Noise(), tmp_path, origin=CPU)
        told.append(error)
        return {}

    train(tiny(steps=1), Noise(), tmp_path, watch=Watch(every=(second,)), origin=CPU)
    assert len(told) == 1
