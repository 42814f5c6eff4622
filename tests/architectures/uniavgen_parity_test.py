"""The release's numbers on random weights (tests/golden/uniavgen_official.md), and completeness of its names."""

from dataclasses import replace

import pytest
import torch
from release_names import GOLDEN, check_wan, official, shapes_of, sizes
from safetensors.torch import load_file

from phonofilm.architectures.uniavgen import Interaction, InteractionLayer, PairedLayer, UniAVGen
from phonofilm.checkpoints.importing import changed, renamed
from phonofilm.codecs.folders import load_strictly
from phonofilm.diffusion.tokens import patchify, positions
from phonofilm.network.alignment import Ramp, ReleasedRamp
from phonofilm.network.context import CharacterText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import MLPEmbed, StreamConfig, WanTime
from phonofilm.recipes.uniavgen import released_interaction, uniavgen_paper, uniavgen_paper_stage2
from phonofilm.types import CLOSED, AVInput, Grid, IndexClock, Links, Stream, Tokens

VIDEO, AUDIO = Grid(4, 2, 3, 1 / 16, 4 / 16), Grid(31, 1, 1, 0.026, 0.026)


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "uniavgen_official.safetensors")


@pytest.fixture(scope="module")
def backbone(golden):
    """The paper's recipe at another size, with the file's weights under its table of names."""
    space = Rope(sizes=(4, 4, 4))
    interaction = replace(
        released_interaction(torch.float32), space=space, place=replace(space, theta=10000 ** (4 / 12))
    )
    network = UniAVGen(
        video=StreamConfig(channels=12, width=36, heads=3, mlp=40, rope=space, time=WanTime()),
        audio=StreamConfig(
            channels=5,
            width=24,
            heads=2,
            mlp=28,
            rope=Rope(sizes=(12, 0, 0)),
            embed=MLPEmbed(),
            time=WanTime(clean_references=False),
        ),
        text=CharacterText(caption=("caption", 10), speech="speech", characters=10, inner=16, depth=2),
        layers=(InteractionLayer, PairedLayer, InteractionLayer),
        interaction=interaction,
    ).build()
    table, weights = uniavgen_paper().names.release, {}
    for name, tensor in golden.items():
        if name.startswith("weights."):
            ours = renamed(name.removeprefix("weights."), table)
            weights[ours] = changed(ours, tensor, 4)
    load_strictly(network, weights, where="golden")
    return network.eval()


def stream(x, given, grid):
    refs = x.shape[1] - grid.tokens
    sigma = torch.full((1,), 0.0 if given[: grid.tokens].all() else 0.625)
    return Stream(
        x=x,
        sigma=sigma,
        given=given[None],
        pos=positions(grid, IndexClock(), refs=refs)[None],
        beside=x.new_zeros(1, x.shape[1], 0),
        grid=grid,
    )


def made(golden, *, clip="image", voice=False, sound=False, **rest):
    """The portrait behind the clip, whose first ``shown`` latent frames are given; a voice behind the sound."""
    shown = golden[clip].shape[1]
    latents = golden["video"].clone()
    latents[:, :shown] = golden[clip][:, :shown]
    latents = torch.cat((latents, golden["image"]), dim=1)
    token = torch.arange(30)
    video = stream(patchify(latents[None], (2, 2)), (token < 6 * shown) | (token >= 24), VIDEO)
    mel = [golden["sound" if sound else "audio"]] + [golden["voice"]] * voice
    given = torch.tensor([sound] * 31 + [True] * 5 * voice)
    # The release fills captions up with zeros that count, and speech with fillers.
    caption = torch.cat((golden["caption"], torch.zeros(3, 10)))[None]
    text = {
        "caption": Tokens(x=caption, mask=torch.ones(1, 7, dtype=torch.bool)),
        "speech": Tokens(x=golden["ids"], mask=torch.ones(1, 10, dtype=torch.bool)),
    }
    audio = stream(torch.cat(mel)[None], given, AUDIO)
    return AVInput(video=video, audio=audio, cond=text, **rest)


def distance(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def expected(golden, name):
    """The release puts the portrait before the clip and says nothing of the voice."""
    video = golden[f"{name}.video"].roll(-1, dims=1)
    return patchify(video[None], (2, 2)), golden[f"{name}.audio"][None]


CASES = {
    "image": {},
    "closed": {"links": CLOSED},
    "voice": {"voice": True},
    "driven": {"sound": True, "links": Links(v2a=False)},
    "dubbed": {"clip": "clip", "links": Links(a2v=False)},
    "skip": {"skip": frozenset({1})},
}


@pytest.mark.parametrize("name", CASES)
def test_the_releases_numbers(golden, backbone, name):
    with torch.no_grad():
        output = backbone(made(golden, **CASES[name]))
    video, audio = expected(golden, name)
    assert distance(output.video, video) < 1e-5
    assert distance(output.audio[:, :31], audio) < 1e-5


def test_other_cases_are_far_away(golden, backbone):
    """So that the test above can fail."""
    with torch.no_grad():
        output = backbone(made(golden))
    for name in CASES.keys() - {"image"}:
        video, audio = expected(golden, name)
        assert max(distance(output.video, video), distance(output.audio, audio)) > 1e-2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_releases_blend_with_its_last_tokens_and_its_rounding(golden, precision):
    video, audio = Grid(21, 1, 1, 1 / 16, 1 / 4), Grid(506, 1, 1, 0.01, 0.01)
    seen = ReleasedRamp(getattr(torch, precision))(video, audio)
    weights = torch.zeros(506, 21)
    for token, (frames, shares) in enumerate(seen):
        for frame, share in zip(frames, shares):
            weights[token, frame] += share
    torch.testing.assert_close(weights, golden[f"ramp.{precision}"].float(), rtol=0, atol=2e-3)
    assert sum(abs(sum(shares) - 2) < 1e-2 for _, shares in seen) >= 6
    assert all(sum(shares) == pytest.approx(1) for _, shares in Ramp()(video, audio))


@pytest.fixture(scope="module")
def own():
    return shapes_of(uniavgen_paper())


def test_the_table_covers_the_whole_release(own):
    table, found = uniavgen_paper().names.release, {}
    for name, shape in official("uniavgen"):
        ours = renamed(name, table)
        assert ours not in found
        found[ours] = tuple(changed(ours, torch.empty(shape, device="meta"), 4).shape)
    assert found == own
    assert sum(sizes(own).values()) == 7_056_424_223


def test_training_has_the_same_network_without_the_releases_quirks(own):
    model = uniavgen_paper_stage2().model
    assert shapes_of(uniavgen_paper_stage2()) == own
    assert not isinstance(model.interaction.seen, ReleasedRamp)
    assert isinstance(uniavgen_paper().model.interaction, Interaction)


def test_wan_and_what_is_fresh_cover_the_network_once(own):
    check_wan(own, uniavgen_paper().names)
