"""Every system over two processes: a step of two ranks is the step of one."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ranks
import torch
from safetensors.torch import load_file

from phonofilm.recipes.ccl import I2V
from phonofilm.train import parallel
from phonofilm.train.loop import advance, start

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "support" / "ranks.py")]


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with what both ranks have trained: all systems in one process group, which is made once."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [*PROGRAM, str(folder), free_port()]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    return folder


def check(pair, run, alone):
    """Both ranks hold the same, and to rounding what one process makes."""
    first, second = (load_file(pair / f"{run}-{rank}.safetensors") for rank in range(2))
    assert first.keys() == second.keys() == alone.keys()
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name]), name
        named = f"{name}: {{}}".format  # torch hands its own message over
        torch.testing.assert_close(first[name], tensor, rtol=1e-3, atol=1e-4, msg=named)


@pytest.mark.parametrize("name", ranks.RECIPES)
def test_two_ranks_step_like_one(pair, name):
    with parallel.world("cpu") as world:
        alone = ranks.stepped(name, "shard", world)
    for way in ranks.WAYS:
        check(pair, f"{name}-{way}", alone)
    start = ranks.weights(ranks.small(name, "shard"))
    assert not torch.allclose(start["video.leave_x.weight"], alone["video.leave_x.weight"], atol=1e-3)


def test_two_ranks_train_like_one(pair, tmp_path):
    alone = ranks.trained("adamw", "shard", tmp_path)
    for way in ranks.WAYS:
        check(pair, f"adamw-{way}", alone)


def test_two_ranks_of_muon_move_like_one(pair, tmp_path):
    """torch's Muon rounds to bfloat16, and what is rounded away in weak directions grows: 0.15 of a movement was seen.

    Two shards made orthogonal each on its own would be longer by the root of 2, so differ by 0.4 or more.
    """
    alone = ranks.trained("muon", "shard", tmp_path)
    begin = ranks.begun("muon")
    for way in ranks.WAYS:
        first, second = (load_file(pair / f"muon-{way}-{rank}.safetensors") for rank in range(2))
        for name, tensor in alone.items():
            assert torch.equal(first[name], second[name]), name
            assert (first[name] - tensor).norm() <= 0.25 * (tensor - begin[name]).norm(), name


def test_a_step_without_sound_counts_for_every_parameter():
    """Else ranks would differ in the moments, and a checkpoint from before the first use could not be read again."""
    experiment = replace(ranks.small("ccl_study", "shard"), tasks=((I2V, 1.0),))
    with parallel.world("cpu") as world:
        learner = start(experiment, world)
        advance(experiment, learner, ranks.clips(experiment), 0, world)
    assert learner.optimisers[0].state.keys() == set(learner.backbone.parameters())
