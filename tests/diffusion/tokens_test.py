"""Latents to tokens and back; where tokens stand on the clock."""

import pytest
import torch

from phonofilm.diffusion.tokens import Geometry, audio_latents, audio_tokens, layout_of, patchify, positions, unpatchify
from phonofilm.types import CENTRE, Grid, IndexClock

pytestmark = pytest.mark.quick


class Video:
    temporal_stride, spatial_stride = 4, 16


class Audio:
    sample_rate, hop = 16000, 512


POCKET = Geometry(num_frames=49, height=128, width=128, fps=24.0)


def test_the_pocket_layout():
    layout = layout_of(POCKET, Video(), Audio(), (2, 2))
    assert (layout.video.frames, layout.video.rows, layout.video.columns) == (13, 4, 4)
    assert layout.audio.frames == 64
    assert layout.video.seconds == pytest.approx(49 / 24)
    assert layout.audio.seconds >= POCKET.seconds - 1e-9
    assert layout.audio.seconds - POCKET.seconds < 512 / 16000


@pytest.mark.parametrize("fps", [24.0, 25.0])
def test_clocks_agree_with_pixels_and_samples(fps):
    """Latent 0 shows pixel frame 0, latent i the frames 4i-3 .. 4i; audio token j the samples of hop j."""
    layout = layout_of(Geometry(num_frames=49, height=128, width=128, fps=fps), Video(), Audio(), (2, 2))
    video = positions(layout.video)[:: layout.video.rows * layout.video.columns, 0]
    assert float(video[0]) == pytest.approx(0.5 / fps)
    for latent in (1, 6, 12):
        frames = torch.arange(4 * latent - 3, 4 * latent + 1)
        assert float(video[latent]) == pytest.approx(float((frames + 0.5).mean()) / fps, abs=1e-6)
    audio = positions(layout.audio)[:, 0]
    assert float(audio[10]) == pytest.approx(10.5 * 512 / 16000, abs=1e-6)


def test_the_index_clock_is_an_index_times_a_factor():
    grid = Grid(4, 1, 1, 0.04, 0.16)
    torch.testing.assert_close(positions(grid, IndexClock(0.24))[:, 0], torch.tensor([0.0, 0.24, 0.48, 0.72]))
    assert positions(grid, CENTRE)[:, 0].diff()[0] != positions(grid, CENTRE)[:, 0].diff()[1]


def test_positions_are_float32_and_ordered_as_tokens_are():
    pos = positions(Grid(2, 2, 3, 0.04, 0.16))
    assert pos.dtype == torch.float32
    assert pos[:6, 1:].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert positions(Grid(2, 1, 1, 0.04, 0.16), refs=2)[-2:, 0].max() < 0


def test_patches_go_there_and_back():
    latents = torch.randn(2, 5, 3, 4, 6)
    tokens = patchify(latents, (2, 2))
    assert tokens.shape == (2, 3 * 2 * 3, 20)
    assert torch.equal(unpatchify(tokens, Grid(3, 2, 3, 0.04, 0.16), (2, 2)), latents)
    # A token's channels: latent channel first, then the cell of the patch, as regions are laid out.
    assert torch.equal(tokens[0, 0].view(5, 2, 2), latents[0, :, 0, :2, :2])
    sound = torch.randn(2, 20, 7)
    assert torch.equal(audio_latents(audio_tokens(sound), Grid(7, 1, 1, 0.032, 0.032)), sound)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"num_frames": 48}, "say 49"), ({"height": 120}, "multiple of 32"), ({"num_frames": 0}, "do not fit")],
)
def test_clips_that_do_not_fit_are_refused(change, says):
    import dataclasses

    with pytest.raises(ValueError, match=says):
        layout_of(dataclasses.replace(POCKET, **change), Video(), Audio(), (2, 2))
