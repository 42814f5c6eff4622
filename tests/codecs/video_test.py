import pytest
import torch
from diffusers import AutoencoderKLWan

from phonofilm.codecs.video import VideoCodec

pytestmark = pytest.mark.quick

TINY = {
    "latent_channels": 4,
    "patch_size": 4,
    "encoder_causal": True,
    "decoder_causal": True,
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("LTXVideo095DownBlock3D", "LTXVideo095DownBlock3D"),
    "downsample_type": ("spatiotemporal", "spatiotemporal"),
    "spatio_temporal_scaling": (True, True),
    "layers_per_block": (1, 1, 1),
    "decoder_block_out_channels": (8, 16),
    "decoder_spatio_temporal_scaling": (True, True),
    "decoder_layers_per_block": (1, 1, 1),
    "decoder_inject_noise": (False, False, False),
    "upsample_residual": (True, True),
    "upsample_factor": (1, 1),
}
WAN = {
    "base_dim": 4,
    "z_dim": 4,
    "dim_mult": [1, 2, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}
WAN |= {"latents_mean": [0.5, 0.0, -0.5, 1.0], "latents_std": [1.0, 2.0, 0.5, 1.0]}


@pytest.fixture
def codec():
    torch.manual_seed(0)
    return VideoCodec.build("AutoencoderKLLTXVideo", TINY).eval().requires_grad_(False)


@pytest.fixture
def video(generator):
    return torch.rand(1, 3, 17, 32, 48, generator=generator) * 2 - 1


def test_shapes_follow_the_strides(codec, video):
    latents = codec.encode(video)
    assert latents.shape == (1, codec.channels, 5, 2, 3)
    assert (codec.spatial_stride, codec.temporal_stride) == (16, 4)
    assert codec.decode(latents).shape == video.shape
    assert codec.decode(latents * 1e3).abs().max() <= 1


@pytest.mark.parametrize("changed", [1, 5, 16])
def test_later_frames_leave_earlier_latents_alone(codec, video, changed):
    other = video.clone()
    other[:, :, changed:] = -other[:, :, changed:]
    before = 1 + (changed - 1) // 4  # latent i covers the pixel frames 4i-3 .. 4i
    a, b = codec.encode(video), codec.encode(other)
    assert torch.equal(a[:, :, :before], b[:, :, :before])
    assert not torch.equal(a[:, :, before], b[:, :, before])


def test_later_latents_leave_earlier_frames_alone(codec, video):
    latents = codec.encode(video)
    other = latents.clone()
    other[:, :, 3:] = 0
    a, b = codec.decode(latents), codec.decode(other)
    assert torch.equal(a[:, :, :9], b[:, :, :9])
    assert not torch.equal(a[:, :, 9:13], b[:, :, 9:13])


def test_standardised_latents_decode_to_the_same_video(codec, video):
    raw = codec.encode(video)
    picture = codec.decode(raw)
    mean, std = raw.mean(dim=(0, 2, 3, 4)), raw.std(dim=(0, 2, 3, 4))
    codec.standardise(mean, std)
    latents = codec.encode(video)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3, 4)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3, 4)), torch.ones(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(codec.decode(latents), picture, atol=1e-5, rtol=1e-4)


def test_save_and_load_is_bitwise(codec, video, tmp_path):
    codec.standardise(torch.arange(4.0), torch.arange(4.0) + 1)
    codec.save(tmp_path)
    again = VideoCodec.load(tmp_path)
    assert torch.equal(again.mean, codec.mean)
    latents = codec.encode(video)
    assert torch.equal(again.encode(video), latents)
    assert torch.equal(again.decode(latents), codec.decode(latents))


def test_half_precision_on_disk_keeps_statistics_exact(codec, video, tmp_path):
    codec.standardise(torch.full((4,), 0.1234567), torch.full((4,), 1.2345678))
    codec.save(tmp_path, dtype=torch.float16)
    again = VideoCodec.load(tmp_path)
    assert torch.equal(again.std, codec.std)
    assert again.network.decoder.conv_in.conv.weight.dtype == torch.float32
    assert (again.encode(video) - codec.encode(video)).abs().max() < 0.02
    again.save(tmp_path / "b", dtype=torch.float16)
    assert torch.equal(VideoCodec.load(tmp_path / "b").encode(video), again.encode(video))


def test_wan_keeps_its_statistics_in_the_configuration(tmp_path):
    torch.manual_seed(0)
    codec = VideoCodec.build("AutoencoderKLWan", WAN).eval().requires_grad_(False)
    assert isinstance(codec.network, AutoencoderKLWan)
    assert codec.mean.flatten().tolist() == WAN["latents_mean"]
    assert (codec.channels, codec.spatial_stride, codec.temporal_stride) == (4, 8, 4)
    video = torch.zeros(1, 3, 5, 16, 16)
    latents = codec.encode(video)
    assert latents.shape == (1, 4, 2, 2, 2)
    assert codec.decode(latents).shape == video.shape
    codec.standardise(torch.ones(4), torch.ones(4) * 2)
    codec.save(tmp_path)
    assert VideoCodec.load(tmp_path).std.flatten().tolist() == [2.0] * 4


def test_bad_input_is_named(codec, tmp_path):
    with pytest.raises(ValueError, match=r"16 pixel frames.*4 \* k \+ 1"):
        codec.encode(torch.zeros(1, 3, 16, 32, 32))
    with pytest.raises(ValueError, match="33x32 pixels.*16"):
        codec.encode(torch.zeros(1, 3, 5, 33, 32))
    with pytest.raises(ValueError, match="AutoencoderKLWan"):
        VideoCodec.build("AutoencoderKL", {})
    with pytest.raises(ValueError, match="no codec in"):
        VideoCodec.load(tmp_path)


def test_missing_and_surplus_weights_are_refused(codec, tmp_path):
    from safetensors.torch import load_file, save_file

    codec.save(tmp_path)
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="1 surplus weights, the first is extra"):
        VideoCodec.load(tmp_path)
    tensors.pop("decoder.conv_in.conv.bias")
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"missing weights, the first is decoder\.conv_in\.conv\.bias"):
        VideoCodec.load(tmp_path)
