"""The release's numbers on random weights (tests/golden/ovi_official.md), and completeness of its table of names."""

import pytest
import torch
from ovi_small import small
from release_names import GOLDEN, check_wan, official, shapes_of, sizes
from safetensors.torch import load_file, save_file

from phonofilm.checkpoints.folder import WEIGHTS, load_shards
from phonofilm.checkpoints.importing import import_weights, renamed
from phonofilm.diffusion.tokens import patchify, positions
from phonofilm.files.safetensors_index import shards
from phonofilm.recipes.ovi import ovi_paper
from phonofilm.types import CLOSED, AVInput, Grid, Links, Stream, Tokens

OPEN = Links(True, True)


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "ovi_official.safetensors")


@pytest.fixture(scope="module")
def backbone(golden, tmp_path_factory):
    """Imported as a user imports it, in several shards."""
    folder = tmp_path_factory.mktemp("ovi")
    weights = {name.removeprefix("weights."): t for name, t in golden.items() if name.startswith("weights.")}
    save_file(weights, folder / "model.safetensors")
    import_weights(folder / "model.safetensors", "ovi_small:small", folder / "ours", shard=100_000)
    network = small().model.build()
    paths = shards(folder / "ours" / WEIGHTS)
    assert len(paths) > 2
    load_shards(network, paths)
    return network.eval()


def stream(x, sigma, grid, given):
    pos = positions(grid, ovi_paper().clock).expand(2, -1, -1)
    return Stream(x=x, sigma=sigma, given=given, pos=pos, beside=x.new_zeros(*given.shape, 0), grid=grid)


def made(golden, *, image, links, skip=()):
    grids = Grid(3, 2, 3, 1 / 24, 4 / 24), Grid(7, 1, 1, 0.032, 0.032)
    first = (torch.arange(18) < 6).expand(2, -1) & image
    text = Tokens(x=golden["text"], mask=torch.ones(2, 6, dtype=torch.bool))
    return AVInput(
        video=stream(patchify(golden["video"], (2, 2)), golden["sigma"], grids[0], first),
        audio=stream(golden["audio"], golden["sigma"], grids[1], torch.zeros(2, 7, dtype=torch.bool)),
        cond={"video_text": text, "audio_text": text},
        links=links,
        skip=frozenset(skip),
    )


def distance(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("text", {"image": False, "links": OPEN}),
        ("image", {"image": True, "links": OPEN}),
        ("skip", {"image": False, "links": OPEN, "skip": (1,)}),
        ("closed", {"image": True, "links": CLOSED}),
    ],
)
def test_the_releases_numbers(golden, backbone, name, options):
    with torch.no_grad():
        output = backbone(made(golden, **options))
    assert distance(output.video, patchify(golden[f"{name}.video"], (2, 2))) < 1e-5
    assert distance(output.audio, golden[f"{name}.audio"]) < 1e-5


def test_other_cases_are_far_away(golden, backbone):
    """So that the test above can fail: an open link, a clean frame and a block make more than a rounding error."""
    with torch.no_grad():
        output = backbone(made(golden, image=True, links=OPEN))
    for name in ("text", "skip", "closed"):
        assert distance(output.video, patchify(golden[f"{name}.video"], (2, 2))) > 1e-2


@pytest.fixture(scope="module")
def own():
    return shapes_of(ovi_paper())


def test_the_table_covers_the_whole_release(own):
    table = ovi_paper().names.release
    found = sizes({renamed(name, table): shape for name, shape in official("ovi")})
    assert found == sizes(own)
    assert len(found) == sum(1 for _ in official("ovi"))


def test_wan_and_what_is_fresh_cover_the_network_once(own):
    names = ovi_paper().names
    found = check_wan(own, names)
    original = {n.removeprefix("video_model.") for n, _ in official("ovi") if n.startswith("video_model.")}
    original = {n.replace("modulation.modulation", "modulation") for n in original if "fusion" not in n}
    assert {renamed(name, names.wan) for name in original} == found
