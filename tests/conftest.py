"""One thread, warnings as errors, and shape checks on every record and annotated function of the package."""

import os
import subprocess

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
install_import_hook("phonofilm", "typecheck.checked")

# torch remembers, at the first use of a device context, which functions make tensors. transformers replaces
# torch.linspace while it loads a model: were that the first use, linspace would ignore such contexts ever after.
with torch.device("meta"):
    torch.empty(0)


@pytest.fixture
def generator():
    """A CPU generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A checkpoint folder with a small random model."""
    from models import write_model

    folder = tmp_path_factory.mktemp("models") / "random"
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def versatile_folder(tmp_path_factory):
    """A tiny random model for every task; its clips may be 0.7 s or 1.4 s long. Its recipe is foreign code."""
    from models import write_model

    from phonofilm.checkpoints.folder import Training

    folder = tmp_path_factory.mktemp("models") / "versatile"
    write_model(folder, "models:every_task", Training(num_frames=(17, 33)))
    return folder


@pytest.fixture
def full_disk(tmp_path):
    """A folder with room for 128 KiB; skips where nothing can be mounted (that wants root)."""
    place = tmp_path / "full"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
