"""The pocket video codec: the transform's closed forms, causality, and what is saved."""

import pytest
import torch

from phonofilm.codecs.blocks import FRAMES, SIZE, VALUES, BlockCodec, from_blocks, to_blocks
from phonofilm.codecs.loading import load_video_codec


def tiny(channels=8):
    torch.manual_seed(0)
    codec = BlockCodec(channels=channels, width=8, depth=1, fine=4, fine_depth=1)
    for parameter in codec.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return codec.requires_grad_(False)


def fitted(codec, whiten=0.5):
    torch.manual_seed(1)
    hidden = torch.randn(300, codec.channels) * torch.arange(codec.channels, 0, -1)
    mixing = torch.linalg.qr(torch.randn(VALUES, codec.channels))[0]
    blocks = hidden @ mixing.T * 0.1 + 0.2
    codec.fit(blocks, torch.ones(len(blocks)), whiten=whiten)
    return blocks


def test_blocks_go_there_and_back():
    video = torch.randn(2, 3, 8, 32, 48)
    blocks = to_blocks(video)
    assert blocks.shape == (2, 2, 2, 3, VALUES)
    assert torch.equal(from_blocks(blocks), video)
    assert torch.equal(blocks[0, 1, 0, 2].view(FRAMES, 3, SIZE, SIZE), video[0, :, 4:, :16, 32:].transpose(0, 1))


def test_pictures_within_the_components_come_back_exactly():
    """With a decoder that adds nothing, the transform inverts itself on what it was fitted to."""
    codec = tiny()
    blocks = fitted(codec)
    torch.nn.init.zeros_(codec.leave.weight)
    torch.nn.init.zeros_(codec.leave.bias)
    still = from_blocks(blocks[:4].view(1, 1, 2, 2, VALUES))[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    codec.fit(to_blocks(still).flatten(0, 3), torch.ones(4), whiten=0.5)
    torch.testing.assert_close(codec.render(codec.encode(still[:, :, :1])), still[:, :, :1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("whiten", [0.0, 0.6, 1.0])
def test_latents_have_about_unit_scale(whiten):
    codec = tiny()
    blocks = fitted(codec, whiten)
    latents = ((blocks - codec.mean) @ codec.basis) / codec.scale
    assert latents.square().mean().sqrt() == pytest.approx(1.0, abs=0.05)
    deviation = latents.std(dim=0)
    assert (deviation.diff() < 1e-3).all()
    if whiten == 1.0:
        assert deviation.max() / deviation.min() == pytest.approx(1.0, abs=0.02)


def test_heavier_blocks_are_kept_better():
    codec = tiny(channels=1)
    light, heavy = torch.zeros(100, VALUES), torch.zeros(100, VALUES)
    light[:, 0], heavy[:, 1] = torch.randn(100) * 2, torch.randn(100)
    codec.fit(torch.cat((light, heavy)), torch.cat((torch.ones(100), torch.full((100,), 50.0))), whiten=0.0)
    assert codec.basis[1].abs() > 0.99


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_shapes(frames):
    codec = tiny()
    latents = codec.encode(torch.rand(2, 3, frames, 32, 16))
    assert latents.shape == (2, 8, 1 + (frames - 1) // 4, 2, 1)
    assert codec.decode(latents).shape == (2, 3, frames, 32, 16)


def test_nothing_looks_ahead():
    codec = tiny()
    fitted(codec)
    video = torch.rand(1, 3, 13, 32, 32) * 2 - 1
    later = video.clone()
    later[:, :, 9:] = 0.5
    assert torch.equal(codec.encode(video)[:, :, :3], codec.encode(later)[:, :, :3])
    assert not torch.equal(codec.encode(video)[:, :, 3:], codec.encode(later)[:, :, 3:])
    latents = codec.encode(video)
    changed = latents.clone()
    changed[:, :, 2:] += 1.0
    assert torch.equal(codec.render(latents)[:, :, :5], codec.render(changed)[:, :, :5])
    assert not torch.equal(codec.render(latents)[:, :, 5:], codec.render(changed)[:, :, 5:])


def test_saved_and_loaded(tmp_path):
    codec = tiny()
    fitted(codec)
    codec.save(tmp_path)
    again = load_video_codec(tmp_path)
    video = torch.rand(1, 3, 5, 32, 32)
    assert torch.equal(again.encode(video), codec.encode(video))
    assert torch.equal(again.decode(again.encode(video)), codec.decode(codec.encode(video)))
    codec.save(tmp_path, dtype=torch.bfloat16)
    short = load_video_codec(tmp_path)
    # The transform stays in float32: latents of a cache must fit the shipped codec.
    assert torch.equal(short.encode(video), codec.encode(video))


@pytest.mark.parametrize(("shape", "says"), [((1, 3, 4, 32, 32), "4 \\* k"), ((1, 3, 5, 30, 32), "multiples of 16")])
def test_clips_that_do_not_fit_are_refused(shape, says):
    with pytest.raises(ValueError, match=says):
        tiny().encode(torch.zeros(shape))
