"""What the tests of both evaluators on WavLM share: small sizes, sounds, and how far two tensors are apart."""

import numpy as np
import torch

SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
}


def noise(samples, seed, channels=1):
    """A tone in noise that swells."""
    rng = np.random.default_rng(seed)
    swell = np.linspace(0.1, 1, samples)
    tone = np.sin(2 * np.pi * (200 + 40 * seed) * np.arange(samples) / 16000)
    return torch.from_numpy((0.1 * rng.standard_normal((channels, samples)) + 0.2 * tone) * swell).float().clamp(-1, 1)


def distance(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())
