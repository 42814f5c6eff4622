"""The release's numbers on random weights (tests/golden/nava_official.md), and completeness of its table of names."""

import pytest
import torch
from nava_small import network, small
from release_names import GOLDEN, check_wan, official, shapes_of, sizes
from safetensors.torch import load_file, save_file

from phonofilm.architectures.nava import TimbreInContext
from phonofilm.checkpoints.folder import WEIGHTS, load_shards
from phonofilm.checkpoints.importing import import_weights, renamed
from phonofilm.diffusion.tokens import patchify, positions
from phonofilm.files.safetensors_index import shards
from phonofilm.recipes.nava import nava_paper, nava_release
from phonofilm.types import CLOSED, AVInput, Grid, Links, Stream, Tokens

CASES = {  # image, links, voice
    "text": (False, Links(), False),
    "closed": (False, CLOSED, False),
    "voice": (False, Links(), True),
    "image": (True, Links(), True),
    "all": (True, CLOSED, True),
}


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "nava_official.safetensors")


@pytest.fixture(scope="module")
def folder(golden, tmp_path_factory):
    """Imported as a user imports it."""
    folder = tmp_path_factory.mktemp("nava")
    weights = {name.removeprefix("weights."): t for name, t in golden.items() if name.startswith("weights.")}
    save_file(weights, folder / "model.safetensors")
    import_weights(folder / "model.safetensors", "nava_small:small", folder / "ours", shard=200_000)
    return folder / "ours"


def loaded(model, folder):
    backbone = model.build()
    load_shards(backbone, shards(folder / WEIGHTS))
    return backbone.eval()


@pytest.fixture(scope="module")
def backbone(folder):
    return loaded(small().model, folder)


def stream(x, sigma, grid, given):
    pos = positions(grid, nava_release().clock).expand(2, -1, -1)
    return Stream(x=x, sigma=sigma, given=given, pos=pos, beside=x.new_zeros(*given.shape, 0), grid=grid)


def made(golden, name):
    """Sample 0 has sentinels at 1 and 3, the second without a voice; sample 1 has one at 2."""
    image, links, voiced = CASES[name]
    voice = torch.zeros(2, 2, 8)
    voice[0, 0], voice[1, 0] = golden["voice"][0], golden["voice"][2]
    marks = torch.zeros(2, 6, dtype=torch.long)
    marks[0, [1, 3]] = marks[1, 2] = 1
    whole = torch.ones(2, 6, dtype=torch.bool)
    return AVInput(
        video=stream(
            patchify(golden["video"], (2, 2)),
            golden["sigma"],
            Grid(3, 2, 3, 1 / 24, 4 / 24),
            (torch.arange(18) < 6).expand(2, -1) & image,
        ),
        audio=stream(golden["audio"], golden["sigma"], Grid(7, 1, 1, 0.04, 0.04), torch.zeros(2, 7, dtype=torch.bool)),
        cond={
            "text": Tokens(x=golden["text"], mask=whole),
            "sentinels": Tokens(x=marks, mask=whole),
            "voice": Tokens(x=voice, mask=torch.tensor([[True, True], [True, False]]) & voiced),
        },
        links=links,
    )


def distance(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def apart(golden, output, name):
    video = distance(output.video, patchify(golden[f"{name}.video"], (2, 2)))
    return video, distance(output.audio, golden[f"{name}.audio"])


@pytest.mark.parametrize("name", CASES)
def test_the_releases_numbers(golden, backbone, name):
    with torch.no_grad():
        output = backbone(made(golden, name))
    assert max(apart(golden, output, name)) < 1e-5


def test_other_cases_are_far_away(golden, backbone):
    """So that the test above can fail: a link, a clean frame and a voice make more than a rounding error."""
    with torch.no_grad():
        output = backbone(made(golden, "image"))
    for name in ("text", "closed", "voice", "all"):
        assert max(apart(golden, output, name)) > 1e-3, name


def test_an_added_voice_gives_other_numbers(golden, folder):
    """The default is not the release's quirk."""
    ours = loaded(network(TimbreInContext), folder)
    with torch.no_grad():
        assert max(apart(golden, ours(made(golden, "text")), "text")) < 1e-5
        assert max(apart(golden, ours(made(golden, "voice")), "voice")) > 1e-3


@pytest.fixture(scope="module")
def own():
    return shapes_of(nava_paper())


def test_the_published_size(own):
    assert sum(sizes(own).values()) == sum(sizes(dict(official("nava"))).values()) == 6_296_995_520


def test_the_table_covers_the_whole_release(own):
    table = nava_paper().names.release
    found = sizes({renamed(name, table): shape for name, shape in official("nava")})
    assert found == sizes(own)
    assert len(found) == sum(1 for _ in official("nava"))


def test_wan_and_what_is_fresh_cover_the_network_once(own):
    check_wan(own, nava_paper().names)
