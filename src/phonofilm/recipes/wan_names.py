"""Names of Wan's weights: diffusers' to those of Wan's own code, and those of one tower to ours.

Rules are (regex, replacement) pairs, applied to a name one after the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class WeightNames:
    """What the weights that others published are called here."""

    release: Rules = ()
    """From the names of the system's own checkpoint; together they name every weight of the network."""
    unused: tuple[str, ...] = ()
    """Patterns of names in that checkpoint of what its network never reads; they are left out."""
    wan: Rules = ()
    """From the names of Wan's own code, whose weights the network may begin with."""
    fresh: tuple[str, ...] = ()
    """Patterns of our names that Wan's weights lack; with ``wan`` they name every weight, each once."""


DIFFUSERS: Rules = (
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.norm2\.", ".norm3."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
)
"""diffusers' WanTransformer3DModel to the original code."""

TOWER: Rules = (
    (r"\.self_attn\.o\.", ".out."),
    (r"\.self_attn\.", ".projection."),
    (r"\.cross_attn\.o\.", ".text.out."),
    (r"\.cross_attn\.", ".text.projection."),
    (r"\.norm3\.", ".norm_text."),
    (r"\.ffn\.", ".mlp."),
    (r"\.modulation$", ".modulation.table"),
    (r"(^|\.)head\.modulation\.table$", r"\1modulation.table"),
    (r"(^|\.)head\.head\.", r"\1leave_x."),
    (r"(^|\.)time_embedding\.", r"\1time.embedding.mlp."),
    (r"(^|\.)time_projection\.1\.", r"\1time.projection."),
    (r"(^|\.)patch_embedding\.(weight|bias)$", r"\1enter_x.\2"),
)
"""The original code to ``blocks.WanLayer`` and ``ports.Port`` with ``WanTime``; what stands before is the recipe's."""


def conv_embedding(name: str) -> Rules:
    """What Ovi's and NAVA's releases call the audio's convolution and gated MLP to ``ports.ConvEmbed``."""
    parts = {"0": "conv", "2.w1": "gate", "2.w2": "down", "2.w3": "up"}
    return tuple((rf"^{re.escape(f'{name}.{theirs}.')}", f"audio.enter_x.{ours}.") for theirs, ours in parts.items())
