"""Runs in miniature: killed and resumed, spread over processes, poisoned; what is kept and what is refused."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training import Noise, tiny

from phonofilm.errors import UserError
from phonofilm.train import checkpoint
from phonofilm.train.loop import Origin, Watch, train
from phonofilm.train.validate import LOSS, validation

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "support" / "training.py")]
CPU = Origin(device="cpu")
THREADS = {"OMP_NUM_THREADS": "1"}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def interrupt(step, backbone):
    raise KeyboardInterrupt


def stopped(experiment, folder):
    """The mean weights when a run is looked at for the first time, which ends it."""
    seen = {}

    def stop(step, backbone):
        seen.update((name, parameter.detach().clone()) for name, parameter in backbone.named_parameters())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(experiment, Noise(), folder, watch=Watch(every=(stop,)), origin=CPU)
    return seen


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The mean weights after two steps."""
    return train(tiny(steps=2), Noise(), tmp_path_factory.mktemp("plain"), origin=CPU)


def test_a_killed_run_goes_on_bit_by_bit(tmp_path):
    steps = 60
    folder = tmp_path / "killed"
    process = subprocess.Popen([*PROGRAM, str(folder), str(steps)], env=os.environ | THREADS)
    until = time.monotonic() + 120
    while time.monotonic() < until and len(checkpoint.steps_of(folder)) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    last = checkpoint.steps_of(folder)[-1]
    assert 2 <= last < steps
    experiment = tiny(steps=steps, save_every=steps, sample_every=last + 3)
    assert same(stopped(experiment, folder), stopped(experiment, tmp_path / "whole"))


def test_accumulation_changes_nothing_but_rounding(tmp_path, plain):
    parts = train(tiny(steps=2, accumulate=2), Noise(), tmp_path, origin=CPU)
    for name, tensor in plain.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-4)


def test_recomputation_changes_nothing(tmp_path, plain):
    assert same(plain, train(tiny(steps=2, checkpointing=True), Noise(), tmp_path, origin=CPU))


def test_no_number_stops_the_run_and_leaves_the_last_checkpoint(tmp_path):
    good, bad = Noise(size=400), Noise(size=400, spoil=None)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), good, tmp_path, watch=Watch(every=(interrupt,)), origin=CPU)
    with pytest.raises(UserError, match=r"video is nan at step 4; .* seed 3 and step 4"):
        train(tiny(), bad, tmp_path, origin=CPU)
    assert checkpoint.steps_of(tmp_path)[-1] == 4
    train(tiny(), good, tmp_path, origin=CPU)
    assert checkpoint.steps_of(tmp_path)[-1] == 6


def test_the_best_checkpoint_is_kept_and_returned(tmp_path):
    figures = {2: 3.0, 4: 1.0, 6: 2.0, 8: 2.5, 10: 4.0}
    watch = Watch(every=(lambda step, backbone: {"val": figures[step]},), best="val")
    kept = train(tiny(steps=10, sample_every=2), Noise(), tmp_path, watch=watch, origin=CPU)
    assert checkpoint.steps_of(tmp_path) == [4, 8, 10]
    assert checkpoint.best_of(tmp_path) == (4, 1.0)
    four = tiny(steps=10, sample_every=4)
    with pytest.raises(KeyboardInterrupt):
        train(four, Noise(), tmp_path / "four", watch=Watch(every=(interrupt,)), origin=CPU)
    stopped = train(
        replace(four, train=replace(four.train, steps=4)), Noise(), tmp_path / "four", origin=Origin(device="cpu")
    )
    assert same(kept, stopped)


def test_hooks_see_the_mean_weights_and_leave_the_others(tmp_path, plain):
    seen = []

    def hook(step, backbone):
        assert not backbone.training
        seen.append({name: p.detach().clone() for name, p in backbone.named_parameters()})
        return {}

    often = tiny(steps=2, sample_every=1)
    watched = train(often, Noise(), tmp_path, watch=Watch(every=(hook,)), origin=CPU)
    assert len(seen) == 2
    assert same(seen[-1], watched)
    assert same(watched, plain)


def test_validation_compares_checkpoints_on_the_same_clips(tmp_path):
    experiment = tiny()
    hook = validation(experiment, Noise(), clips=8)
    backbone = experiment.model.build()
    one, other = hook(1, backbone), hook(2, backbone)
    assert one == other
    assert one[LOSS] == pytest.approx(one["val/video"] + one["val/audio"])


def test_a_folder_holds_one_run(tmp_path):
    train(tiny(steps=1), Noise(), tmp_path, origin=CPU)
    with pytest.raises(UserError, match="holds a run with train.seed 3, now 4: choose another folder"):
        train(tiny(steps=1, seed=4), Noise(), tmp_path, origin=CPU)
    with pytest.raises(UserError, match="'mirror': shard or replicate"):
        train(tiny(steps=1, parallel="mirror"), Noise(), tmp_path, origin=CPU)


def test_a_batch_must_divide(tmp_path):
    with pytest.raises(ValueError, match="4 does not divide into 1 processes times 3"):
        train(tiny(accumulate=3), Noise(), tmp_path, origin=CPU)


def test_a_run_can_start_from_trained_weights(tmp_path, plain):
    origin, first = CPU, plain
    frozen = replace(tiny(steps=1), optim=replace(tiny().optim, lr=0.0))
    tuned = train(frozen, Noise(), tmp_path / "tuned", origin=replace(origin, weights=first))
    assert same(tuned, first)
    fresh = train(frozen, Noise(), tmp_path / "fresh", origin=origin)
    assert not same(fresh, first)
    with pytest.raises(UserError, match="start from"):
        train(frozen, Noise(), tmp_path / "short", origin=replace(origin, weights=dict(list(first.items())[1:])))
