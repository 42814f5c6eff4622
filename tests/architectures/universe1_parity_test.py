"""The release's numbers on random weights (tests/golden/universe1_official.md), and completeness of its names."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from universe1_small import small

from phonofilm.checkpoints.folder import WEIGHTS, load_shards
from phonofilm.checkpoints.importing import import_weights, renamed
from phonofilm.diffusion.tokens import patchify, positions
from phonofilm.files.safetensors_index import shards
from phonofilm.recipes.universe1 import RENAMES, UNUSED, universe1_paper
from phonofilm.types import AVInput, Grid, Links, Stream, Tokens

GOLDEN = Path(__file__).parents[1] / "golden"
OPEN = Links(True, True)


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "universe1_official.safetensors")


@pytest.fixture(scope="module")
def backbone(golden, tmp_path_factory):
    """Imported as a user imports it; what nothing reads is left out."""
    folder = tmp_path_factory.mktemp("universe1")
    weights = {name.removeprefix("weights."): t for name, t in golden.items() if name.startswith("weights.")}
    save_file(weights, folder / "model.safetensors")
    plan = import_weights(folder / "model.safetensors", "universe1_small:small", folder / "ours")
    assert len(plan.parts) < len(weights)
    network = small().model.build()
    load_shards(network, shards(folder / "ours" / WEIGHTS))
    return network.eval()


def sound_tokens(latents):
    """Rows by channels, channels fastest."""
    return latents.permute(0, 3, 2, 1).flatten(2)


def stream(x, sigma, grid, given):
    pos = positions(grid, universe1_paper().clock).expand(2, -1, -1)
    return Stream(x=x, sigma=sigma, given=given, pos=pos, beside=x.new_zeros(*given.shape, 0), grid=grid)


def whole(x):
    return Tokens(x=x, mask=torch.ones(x.shape[:2], dtype=torch.bool))


def made(golden, *, image, links=OPEN):
    video, first = golden["video"].clone(), (torch.arange(24) < 6).expand(2, -1) & image
    if image:
        video[:, :, :1] = golden["reference"]
    grids = Grid(4, 2, 3, 1 / 25, 4 / 25), Grid(4, 1, 1, 0.16, 0.16)
    audio, nothing = sound_tokens(golden["audio"]), torch.zeros(2, 4, dtype=torch.bool)
    return AVInput(
        video=stream(patchify(video, (2, 2)), golden["sigma"], grids[0], first),
        audio=stream(audio, golden["sigma"], grids[1], nothing),
        cond={name: whole(golden[name]) for name in ("scene", "sound", "speech")},
        links=links,
        skip=frozenset(),
    )


def distance(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize(("name", "image"), [("text", False), ("image", True)])
def test_the_releases_numbers(golden, backbone, name, image):
    with torch.no_grad():
        output = backbone(made(golden, image=image))
    assert distance(output.video, patchify(golden[f"{name}.video"], (2, 2))) < 1e-5
    assert distance(output.audio, sound_tokens(golden[f"{name}.audio"])) < 1e-5


@pytest.mark.parametrize("links", [Links(True, False), Links(False, True)])
def test_other_cases_are_far_away(golden, backbone, links):
    """So that the test above can fail: what comes from the other tower is more than a rounding error."""
    with torch.no_grad():
        output = backbone(made(golden, image=False, links=links))
    far = (
        distance(output.video, patchify(golden["text.video"], (2, 2))),
        distance(output.audio, sound_tokens(golden["text.audio"])),
    )
    assert max(far) > 1e-2
    assert distance(patchify(golden["image.video"], (2, 2)), patchify(golden["text.video"], (2, 2))) > 1e-2


def official():
    content = json.loads((GOLDEN / "universe1_official_names.json").read_text())
    for name, shape in content["shapes"].items():
        for block in range(content["blocks"]) if "*" in name else (0,):
            yield name.replace("*", str(block)), tuple(shape)


def test_the_table_covers_the_whole_release():
    with torch.device("meta"):
        own = {name: t.numel() for name, t in universe1_paper().model.build().state_dict().items()}
    used = [(name, shape) for name, shape in official() if not any(re.search(rule, name) for rule in UNUSED)]
    found = {renamed(name, RENAMES): torch.Size(shape).numel() for name, shape in used}
    assert found == own
    assert len(found) == len(used)
