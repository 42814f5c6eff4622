"""JoVA's own promises: published size, the audio branch as a copy of the video branch, the mouth's weight."""

import pytest
import torch

from phonofilm.architectures.jova import start_audio_from_video
from phonofilm.diffusion.losses import stream_loss
from phonofilm.diffusion.tasks import I2AV, T2AV, Beside, Pair, compose, placed
from phonofilm.diffusion.tokens import latent_region, patchify
from phonofilm.recipes.jova import jova_paper, jova_pocket, jova_study
from phonofilm.types import Grid, Layout, Stream


def test_paper_size_is_two_towers_of_12_2_billion():
    with torch.device("meta"):
        backbone = jova_paper().model.build()
    blocks = sum(p.numel() for p in backbone.blocks.parameters())
    assert blocks / 2 == pytest.approx(12.2e9, rel=0.01)
    assert len(backbone.blocks) == 56
    assert jova_paper().model.video.width // jova_paper().model.video.heads == 128


def test_pocket_fits_the_package():
    assert sum(p.numel() for p in jova_pocket().model.build().parameters()) <= 18_000_000


def test_audio_starts_as_a_copy_of_video():
    backbone = jova_study().model.build()
    start_audio_from_video(backbone)
    for block in backbone.blocks:
        weights = block.state_dict()
        pairs = [(name, "audio" + name.removeprefix("video")) for name in weights if name.startswith("video")]
        assert pairs
        assert all(torch.equal(weights[video], weights[audio]) for video, audio in pairs)


def test_text_is_read_in_order():
    """Two sentences of the same letters must differ to the network: letters have positions."""
    experiment = jova_study()
    torch.manual_seed(0)
    backbone = experiment.model.build().eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    layout = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(11, 1, 1, 0.032, 0.032))
    noise = Pair(torch.randn(1, 12, 256), torch.randn(1, 11, 20))
    from phonofilm.types import Prompt

    outputs = []
    for words in ("red at two", "two at red"):
        cond = experiment.encode([Prompt(speech=(("", words),))])
        one = torch.ones(1)
        outputs.append(backbone(compose(experiment.tasks[0][0], layout, noise, noise, Pair(one, one), cond)))
    assert not torch.allclose(outputs[0].audio, outputs[1].audio, atol=1e-4)


@pytest.mark.parametrize(("frame", "latent"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_the_mouths_box_lands_on_its_cells(frame, latent):
    pixels = torch.zeros(1, 9, 64, 64)
    pixels[0, frame, 17:31, 33:47] = 1.0
    region = latent_region(pixels, 4, 16)
    assert region.shape == (1, 1, 3, 4, 4)
    assert region.nonzero().tolist() == [[0, 0, latent, 1, 2]]


def test_the_mouths_weight_counts_its_cells_more():
    data, x = torch.zeros(1, 4, 8), torch.ones(1, 4, 8)
    stream = Stream(
        x=x,
        sigma=torch.ones(1),
        given=torch.zeros(1, 4, dtype=torch.bool),
        pos=torch.zeros(1, 4, 3),
        beside=torch.zeros(1, 4, 0),
        grid=Grid(1, 2, 2, 1 / 24, 4 / 24),
    )
    region = torch.zeros(1, 1, 1, 4, 4)
    region[..., 0, 0] = 1.0
    cells = patchify(region, (2, 2))
    predicted = torch.zeros(1, 4, 8)
    plain = stream_loss(stream, predicted, data, None, 0.0)
    assert float(plain) == 1.0
    # One cell of 16 counts 1 + 5 times.
    assert float(stream_loss(stream, predicted, data, cells, 5.0)) == pytest.approx(1 + 5 / 16)
    assert float(stream_loss(stream, predicted, data, cells, 0.0)) == float(plain)


def test_the_reference_image_lies_beside_the_noise():
    layout = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(5, 1, 1, 0.032, 0.032))
    clean, noise = (Pair(torch.randn(1, 12, 256), torch.randn(1, 5, 20)) for _ in range(2))
    one = Pair(torch.ones(1), torch.ones(1))
    input = compose(placed(I2AV, Beside(16)), layout, clean, noise, one, {})
    assert not input.video.given.any()
    assert torch.equal(input.video.x, noise.video)
    assert torch.equal(input.video.beside[:, :4, :256], clean.video[:, :4])
    assert input.video.beside[:, 4:].abs().sum() == 0
    assert torch.equal(input.video.beside[:, :4, 256:], torch.ones(1, 4, 16))
    empty = compose(placed(T2AV, Beside(16)), layout, clean, noise, one, {})
    assert empty.video.beside.shape == input.video.beside.shape
    assert empty.video.beside.abs().sum() == 0
