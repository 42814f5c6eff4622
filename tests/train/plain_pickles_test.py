"""Checkpoints are read whole, and run nothing that somebody has put into them."""

import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp

from phonofilm.errors import UserError
from phonofilm.train.parallel import world
from phonofilm.train.plain_pickles import load_plainly


@pytest.fixture(autouse=True)
def alone():
    with world("cpu"):
        yield


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def state():
    return {"model": {"x": torch.zeros(3, 4), "half": torch.zeros(2, dtype=torch.bfloat16)}, "rate": 0.0, "steps": [0]}


def test_tensors_and_numbers_come_back(tmp_path):
    whole = {"model": {"x": torch.randn(3, 4), "half": torch.ones(2).bfloat16()}, "rate": 0.25, "steps": [7]}
    dcp.save(whole, checkpoint_id=tmp_path / "c")
    found = state()
    load_plainly(found, tmp_path / "c")
    assert torch.equal(found["model"]["x"], whole["model"]["x"])
    assert torch.equal(found["model"]["half"], whole["model"]["half"])
    assert (found["rate"], found["steps"]) == (0.25, [7])


def test_a_description_that_would_run_code_is_refused(tmp_path):
    dcp.save(state(), checkpoint_id=tmp_path / "c")
    (tmp_path / "c" / ".metadata").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(UserError, match="metadata: it would run (_?io|builtins).open"):
        load_plainly(state(), tmp_path / "c")
    assert not (tmp_path / "ran").exists()


def test_a_value_that_would_run_code_is_refused(tmp_path):
    dcp.save(state() | {"rate": Evil(tmp_path / "ran")}, checkpoint_id=tmp_path / "c")
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(UserError, match="holds a value that would run code"):
        load_plainly(state(), tmp_path / "c")
    assert not (tmp_path / "ran").exists()
