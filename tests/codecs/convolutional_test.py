"""The learned pocket video codec: its start, causality, and what is saved."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from phonofilm.codecs.blocks import VALUES, BlockCodec, from_blocks
from phonofilm.codecs.convolutional import ConvCodec, ConvConfig, gather, spread
from phonofilm.codecs.folders import WEIGHTS
from phonofilm.codecs.loading import load_video_codec
from phonofilm.codecs.protocols import VideoCodec
from phonofilm.errors import UserError
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import write_script
from phonofilm.puppets.stage import draw
from phonofilm.train.codecs.jobs import decibels, seam
from phonofilm.train.codecs.pool import to_video

ROOT = Path(__file__).parents[2]
WEIGHTS_FOLDER = "weights/pocket2-codecs"
TINY = ConvConfig(channels=8, encoder=(8, 8, 12), decoder=(12, 40, 50, 14), decoder_depths=(1, 1, 1, 1))


def tiny(*, trained=True):
    torch.manual_seed(0)
    codec = ConvCodec(TINY)
    for name, parameter in codec.named_parameters():
        if trained and ("conv2" in name or "encoder.leave" in name):  # what is 0 before training
            torch.nn.init.normal_(parameter, std=0.05)
    return codec.to(memory_format=torch.channels_last).requires_grad_(False)


def linear(channels=8):
    """Components that are smooth in space and time, each a little weaker than the one before."""
    torch.manual_seed(1)
    codec = BlockCodec(channels=channels, width=8, depth=1, fine=4, fine_depth=1)
    coarse = torch.randn(channels, 3, 2, 3, 3)
    smooth = torch.nn.functional.interpolate(coarse, (4, 16, 16), mode="trilinear").transpose(1, 2).flatten(1)
    codec.basis.copy_(torch.linalg.qr(smooth.T)[0])
    codec.scale.copy_(torch.linspace(8, 1, channels))
    codec.mean.copy_(0.1 * smooth[0])
    return codec


def test_is_a_video_codec():
    assert isinstance(tiny(), VideoCodec)


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_shapes(frames):
    codec = tiny()
    latents = codec.encode(torch.rand(2, 3, frames, 32, 16))
    assert latents.shape == (2, 8, 1 + (frames - 1) // 4, 2, 1)
    video = codec.decode(latents)
    assert video.shape == (2, 3, frames, 32, 16)
    assert video.abs().max() <= 1


def test_features_go_to_places_and_back():
    x = torch.arange(2 * 12 * 3 * 5.0).view(2, 12, 3, 5)
    assert spread(x).shape == (2, 3, 6, 10)
    assert torch.equal(gather(spread(x)), x)
    assert torch.equal(spread(x)[:, :, 1::2, 0::2], x[:, 6:9])  # the third place: second row, first column
    both = spread(x, frames=3)
    assert both.shape == (6, 1, 6, 10)
    assert torch.equal(both[1::3, 0, 0::2, 1::2], x[:, 5])  # the second frame's second place


def test_before_training_it_is_the_linear_transform():
    codec, start = tiny(trained=False), linear()
    codec.start_from(start)
    video = torch.rand(2, 3, 9, 32, 48) * 2 - 1
    latents = codec.encode(video)
    torch.testing.assert_close(latents, start.encode(video), rtol=1e-4, atol=1e-5)
    plain = from_blocks((latents.movedim(1, -1) * start.scale) @ start.basis.T + start.mean)[:, :, 3:]
    error = codec.render(latents) - plain
    # 32 of the 32 directions of quarters are kept; the last convolution has faint random taps beside its middle.
    assert error.square().mean() < 0.003 * plain.square().mean()


def test_nothing_looks_ahead():
    codec = tiny()
    codec.basis.copy_(torch.randn(VALUES, 8) / VALUES**0.5)
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


def test_the_past_is_seen_and_other_clips_are_not():
    codec = tiny()
    video = torch.rand(2, 3, 13, 32, 32) * 2 - 1
    earlier = video.clone()
    earlier[0, :, 1:5] = 0.5
    one, two = codec.encode(video), codec.encode(earlier)
    assert not torch.equal(one[0, :, 2], two[0, :, 2])  # one latent frame later
    assert torch.equal(one[0, :, 3], two[0, :, 3])
    assert torch.equal(one[1], two[1])
    latents = codec.encode(video)
    changed = latents.clone()
    changed[0, :, 1] += 1.0
    assert not torch.equal(codec.render(latents)[0, :, 5:9], codec.render(changed)[0, :, 5:9])
    assert torch.equal(codec.render(latents)[1], codec.render(changed)[1])


def test_clips_of_any_length_begin_alike():
    codec = tiny()
    video = torch.rand(1, 3, 13, 32, 32) * 2 - 1
    torch.testing.assert_close(codec.encode(video[:, :, :5]), codec.encode(video)[:, :, :2], rtol=1e-4, atol=1e-5)


def test_pictures_reach_across_the_edges_of_tokens():
    """A change of one token's latents moves pixels of the tokens beside it, so that no seam has to be drawn."""
    codec = tiny()
    latents = torch.randn(1, 8, 1, 3, 3)
    changed = latents.clone()
    changed[..., 1, 1] += 1.0
    moved = (codec.render(changed) - codec.render(latents)).abs().sum(dim=(0, 1, 2))
    assert moved[8, 24] > 0
    assert moved[24, 40] > 0


def test_saved_and_loaded(tmp_path):
    codec = tiny()
    codec.start_from(linear())
    codec.scale.fill_(1.5)
    codec.save(tmp_path)
    again = load_video_codec(tmp_path)
    assert isinstance(again, ConvCodec)
    assert again.config == TINY
    video = torch.rand(1, 3, 5, 32, 32)
    assert torch.equal(again.encode(video), codec.encode(video))
    assert torch.equal(again.decode(again.encode(video)), codec.decode(codec.encode(video)))
    codec.save(tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "vae" / WEIGHTS)
    assert {stored[name].dtype for name in ("mean", "basis", "scale")} == {torch.float32}
    assert stored["decoder.leave.weight"].dtype == torch.bfloat16


def test_weights_that_do_not_fit_are_refused(tmp_path):
    tiny().save(tmp_path)
    path = tmp_path / "vae" / WEIGHTS
    stored = load_file(path)
    del stored["decoder.leave.bias"]
    save_file(stored, path)
    with pytest.raises(UserError, match=r"1 missing weights, the first is decoder\.leave\.bias"):
        load_video_codec(tmp_path)


@pytest.mark.parametrize(
    ("entry", "value", "says"),
    [
        ("encoder", [8, 8], "wanted is a list of 3 values"),
        ("channels", 0, "accepted is from 1 to 3072"),
        ("widths", 3, "unknown entry 'widths'"),
        ("decoder_depths", [1, 1, 1, 3000], "larger network than"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, entry, value, says):
    tiny().save(tmp_path)
    path = tmp_path / "vae" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))
    with pytest.raises(UserError, match=says):
        load_video_codec(tmp_path)


@pytest.mark.parametrize(("shape", "says"), [((1, 3, 4, 32, 32), "4 \\* k"), ((1, 3, 5, 30, 32), "multiples of 16")])
def test_clips_that_do_not_fit_are_refused(shape, says):
    with pytest.raises(ValueError, match=says):
        tiny().encode(torch.zeros(shape))


def test_the_trained_weights_beat_the_linear_codec_and_draw_no_seams():
    """On a puppet of the test split, which no codec was trained on; docs/how-it-works/codecs.md has the figures."""
    drawing = draw([perform(write_script(1, split="test", stage="speaker"))], size=128)
    video = to_video(drawing.video[0, 16:33].numpy())[None]
    linear, learned = (load_video_codec(ROOT / folder) for folder in ("src/phonofilm/models/pocket", WEIGHTS_FOLDER))
    error = [(codec.decode(codec.encode(video)) - video).square().mean().item() for codec in (linear, learned)]
    assert decibels(error[1]) > decibels(error[0]) + 2
    made = learned.decode(learned.encode(video))
    assert seam(made, 16) < 1.1 * seam(video, 16)
    assert learned.encode(video).square().mean().item() == pytest.approx(1.0, abs=0.7)
