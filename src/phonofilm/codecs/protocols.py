"""What the rest of the library asks of a codec: latents of unit scale, and strides in pixels, frames and samples."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class VideoCodec(Protocol):
    """Pixels to latents and back. Causal in time: latent frame 0 is pixel frame 0, latent i the frames 4i-3 .. 4i."""

    channels: int
    """Latent channels."""
    spatial_stride: int
    """Pixels per latent, along height and width."""
    temporal_stride: int
    """Pixel frames per latent frame, after the first."""

    def encode(self, video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Latents of unit scale of a video in [-1, 1] with ``temporal_stride * k + 1`` pixel frames."""
        ...

    def decode(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B 3 T H W"]:
        """Video in [-1, 1] from latents of unit scale."""
        ...


@runtime_checkable
class AudioCodec(Protocol):
    """Samples to latents and back."""

    sample_rate: int
    """Samples per second."""
    hop: int
    """Samples per latent."""
    channels: int
    """Latent channels."""

    def encode(self, wave: Float[Tensor, "B K N"]) -> Float[Tensor, "B C n"]:
        """Latents of unit scale; N is rounded up to whole latents."""
        ...

    def decode(self, latents: Float[Tensor, "B C n"]) -> Float[Tensor, "B K N"]:
        """Sound of exactly ``n * hop`` samples; the caller trims it to the clip."""
        ...
