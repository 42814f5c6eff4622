"""The video codec: diffusers' causal video autoencoders, with latents brought to unit scale."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.codecs.folders import load_part, save_part

NETWORKS = (AutoencoderKLLTXVideo, AutoencoderKLWan)


class VideoCodec(nn.Module):
    """A causal video autoencoder whose latents have zero mean and unit deviation in every channel.

    Wraps ``AutoencoderKLLTXVideo`` (its statistics are buffers) and ``AutoencoderKLWan`` (its statistics stand in
    the configuration); both are written back where they came from.
    """

    mean: Tensor
    std: Tensor
    spatial_stride: int

    def __init__(self, network: AutoencoderKLLTXVideo | AutoencoderKLWan) -> None:
        super().__init__()
        self.network = network
        config = network.config
        self.channels: int = config.get("latent_channels") or config["z_dim"]
        self.spatial_stride = int(network.spatial_compression_ratio or 0)
        self.temporal_stride: int = config.get("scale_factor_temporal") or network.temporal_compression_ratio
        mean, std = _statistics(network)
        for name, values in (("latents_mean", mean), ("latents_std", std)):
            if values.shape != (self.channels,):
                raise ValueError(f"{name} has the shape {list(values.shape)}, there are {self.channels} channels")
        self.register_buffer("mean", mean.clone().view(1, -1, 1, 1, 1), persistent=False)
        self.register_buffer("std", std.clone().view(1, -1, 1, 1, 1), persistent=False)

    @classmethod
    def build(cls, name: str, config: dict[str, object]) -> VideoCodec:
        """An untrained codec from the name of a diffusers class and its configuration."""
        known = {network.__name__: network for network in NETWORKS}
        if name not in known:
            raise ValueError(f"unknown video autoencoder {name!r}; accepted: {', '.join(known)}")
        return cls(known[name].from_config(config))  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, folder: str | Path) -> VideoCodec:
        """Load from the ``vae`` folder inside a checkpoint folder; missing or surplus weights are an error."""
        return cls(load_part(Path(folder) / "vae", NETWORKS))  # pyright: ignore[reportArgumentType]

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the ``vae`` folder inside a checkpoint folder, weights optionally in a shorter type."""
        save_part(self.network, Path(folder) / "vae", dtype=dtype)

    def posterior(self, video: Float[Tensor, "B 3 T H W"]) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the raw latents (before standardisation); what training needs."""
        self._check(video)
        distribution = self.network.encode(video).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        return distribution.mean, distribution.logvar

    def render(self, raw: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video from raw latents, not clipped; what training needs."""
        return self.network.decode(raw).sample  # pyright: ignore[reportAttributeAccessIssue]

    def encode(self, video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Latents of unit scale (the posterior's mean) of a video in [-1, 1].

        Raises ValueError where the pixel frames are not ``temporal_stride * k + 1`` or the sides not multiples of
        ``spatial_stride``.
        """
        return (self.posterior(video)[0] - self.mean) / self.std

    def decode(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video in [-1, 1] from latents of unit scale."""
        return self.render(latents * self.std + self.mean).clamp(-1.0, 1.0)

    @torch.no_grad()
    def standardise(self, mean: Float[Tensor, " C"], std: Float[Tensor, " C"]) -> None:
        """Adopt the statistics of raw latents, measured after training; they are saved with the network."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std))
        if isinstance(self.network, AutoencoderKLLTXVideo):
            self.network.latents_mean.copy_(mean)
            self.network.latents_std.copy_(std)
        else:
            self.network.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())

    def _check(self, video: Tensor) -> None:
        frames, height, width = video.shape[-3:]
        if (frames - 1) % self.temporal_stride:
            k = self.temporal_stride
            raise ValueError(f"{frames} pixel frames; this codec takes {k} * k + 1 (1, {k + 1}, {2 * k + 1}, ...)")
        if height % self.spatial_stride or width % self.spatial_stride:
            raise ValueError(f"{height}x{width} pixels; sides must be multiples of {self.spatial_stride}")


def _statistics(network: AutoencoderKLLTXVideo | AutoencoderKLWan) -> tuple[Tensor, Tensor]:
    if isinstance(network, AutoencoderKLLTXVideo):
        return network.latents_mean, network.latents_std
    return torch.tensor(network.config["latents_mean"]), torch.tensor(network.config["latents_std"])
