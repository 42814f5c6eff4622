"""The first BigVGAN, which speaks for MMAudio's codec at 16 kHz; diffusers has the second."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import MMAudioVocoder
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn


class BoundedConv1d(nn.Conv1d):
    """A convolution into [-1, 1] through tanh."""

    def forward(self, input: Float[Tensor, "B C N"]) -> Float[Tensor, "B K N"]:
        return torch.tanh(super().forward(input))


class BigVGANVocoder(MMAudioVocoder):
    """Log mels to samples (Lee et al. 2023): diffusers' vocoder, whose last layer here has a bias and ends in tanh.

    The second BigVGAN has neither and cuts off at -1 and 1, which changes nothing behind tanh.
    """

    @register_to_config
    def __init__(
        self,
        num_mels: int = 80,
        upsample_initial_channel: int = 1536,
        upsample_rates: Sequence[int] = (4, 4, 2, 2, 2, 2),
        upsample_kernel_sizes: Sequence[int] = (8, 8, 4, 4, 4, 4),
        resblock_kernel_sizes: Sequence[int] = (3, 7, 11),
        resblock_dilation_sizes: Sequence[Sequence[int]] = ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
    ) -> None:
        super().__init__(
            num_mels=num_mels,
            upsample_initial_channel=upsample_initial_channel,
            upsample_rates=tuple(upsample_rates),
            upsample_kernel_sizes=tuple(upsample_kernel_sizes),
            resblock_kernel_sizes=tuple(resblock_kernel_sizes),
            resblock_dilation_sizes=tuple(tuple(sizes) for sizes in resblock_dilation_sizes),
        )
        self.conv_post = BoundedConv1d(self.conv_post.in_channels, 1, 7, padding=3)
