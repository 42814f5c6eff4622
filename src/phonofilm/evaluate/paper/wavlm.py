"""WavLM (Chen et al. 2022) out of its authors' checkpoints into transformers' network, and what its layers say.

Shown to give the layers of microsoft/unilm's code, as evaluators carry it, for the same random weights
(``tests/evaluate_audiobox_test.py`` the base, ``tests/evaluate_similarity_test.py`` the large network).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.checkpoints.importing import renamed
from phonofilm.files.resample import resample
from phonofilm.recipes.wan_names import Rules

RATE, STRIDE = 16000, 320
"""Samples per second, and samples from frame to frame."""
SIZES: dict[str, Any] = {
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "num_buckets": 320,
    "max_bucket_distance": 800,
    "conv_dim": (512,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_bias": False,
}
"""What the base and the large network share, as transformers calls it."""
BASE: dict[str, Any] = SIZES | {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
}
LARGE: dict[str, Any] = SIZES | {
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
"""The large one wants samples of mean 0 and deviation 1."""
RENAMES: Rules = (
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(?:1\.)?", r"\1.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"\.self_attn\.", ".attention."),
    (r"\.grep_linear\.", ".gru_rel_pos_linear."),
    (r"\.grep_a$", ".gru_rel_pos_const"),
    (r"\.relative_attention_bias\.", ".rel_attn_embed."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
"""The authors' names, to those of transformers' WavLMModel."""


def our_name(name: str, inside: str) -> str:
    """What a tensor of WavLM is called here, whose name begins with ``inside`` in a checkpoint; others keep theirs."""
    return f"wavlm.{renamed(name.removeprefix(inside), RENAMES)}" if name.startswith(inside) else name


def at_16_khz(wave: Float[Tensor, " N"], rate: int) -> Float[Tensor, " M"]:
    """Resample as torchaudio does by itself: 6 zero crossings, cut-off at 0.99, the length rounded up."""
    length = -(-len(wave) * RATE // rate)
    step = rate // math.gcd(rate, RATE)
    return resample(torch.nn.functional.pad(wave, (0, step)), rate, RATE, zeros=6, rolloff=0.99)[:length]


def layers(net: nn.Module, wave: Float[Tensor, " N"], num_frames: int | None = None) -> Float[Tensor, "L T C"]:
    """What goes into the first layer and what comes out of each, for sound at 16 kHz; the last as the network ends.

    ``num_frames`` leaves out all later frames, which is what a mask does: the convolutions over samples hear the
    whole, and nothing after them sees what is left out.
    """

    def cut(module: nn.Module, given: tuple, found: Float[Tensor, "1 C T"]) -> Float[Tensor, "1 C T2"]:
        del module, given
        return found[..., :num_frames]

    convolutions: nn.Module = net.feature_extractor  # pyright: ignore[reportAssignmentType]
    with convolutions.register_forward_hook(cut):
        found = net(wave[None], output_hidden_states=True)
    # The large network has a norm after its last layer, which the authors' last layer counts in.
    return torch.cat([*found.hidden_states[:-1], found.last_hidden_state])
