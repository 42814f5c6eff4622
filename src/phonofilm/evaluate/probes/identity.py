"""Whether a puppet stays who it is from the first pixel frame to the last."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import VIDEO, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.probes.puppets import ATTRIBUTES
from phonofilm.types import Clip

PLACES = {"hair": (57.0, 15.0, 71.0, 25.0), "cheeks": (46.0, 66.0, 82.0, 76.0), "wall": (2.0, 2.0, 12.0, 12.0)}
"""Boxes (left, top, right, bottom) in 1/128 of the picture's height; those of the head move with the mouth."""
SAMPLES = 16
DRIFT = Measure(
    name="exact.identity_drift",
    title="how far colours of hair, cheeks and wall move from the first eighth of the clip to the rest",
    better="down",
    unit="grey levels",
    worst=255.0,
    reads=VIDEO,
)
KEPT = Measure(
    name="exact.identity_kept",
    title="looks read the same in the first and the last third (best for a still picture: see exact.still)",
    better="up",
    unit="share of attributes",
    how="ratio",
    worst=0.0,
    reads=VIDEO,
)


def place_colours(video: UInt8[Tensor, "T 3 H W"]) -> Float[Tensor, "T 9"]:
    """Mean colours of hair, cheeks and wall in each pixel frame."""
    from phonofilm.puppets.head import MIDDLE, MOUTH_Y
    from phonofilm.puppets.readback import middles_of, patch_of, units

    pixels, x, y = units(video)
    centre = middles_of(pixels, x, y)
    still = torch.full_like(centre[0], MIDDLE), torch.full_like(centre[1], MOUTH_Y)
    found = []
    for name, box in PLACES.items():
        at = centre if name != "wall" else still
        each = [
            patch_of(pixels[k : k + 1], (x, y), (at[0][k : k + 1], at[1][k : k + 1]), box) for k in range(len(video))
        ]
        found.append(torch.stack([colours.mean(0) for colours in each]))
    return torch.cat(found, dim=1)


def drift(video: UInt8[Tensor, "T 3 H W"]) -> float:
    """Mean distance of the colours from those of the first eighth, in grey levels, 0 best."""
    some = video[torch.linspace(0, len(video) - 1, min(SAMPLES, len(video))).round().long()]
    colours = place_colours(some)
    first = colours[: max(1, len(colours) // 8)].mean(0)
    apart = (colours - first).reshape(len(colours), len(PLACES), 3).norm(dim=-1)
    return float(apart.max(1).values.mean())


def _read(entry: Entry, clip: Clip) -> Found:
    from phonofilm.puppets.readback import read_look

    del entry
    third = len(clip.video) // 3
    if third < 1:
        raise Unmeasured("fewer than 3 pixel frames")
    first, last = read_look(clip.video[:third]), read_look(clip.video[-third:])
    same = sum(first[name] == last[name] for name in ATTRIBUTES)
    return Found(values={DRIFT.name: (drift(clip.video), 1.0), KEPT.name: (float(same), float(len(ATTRIBUTES)))})


def _wants(entry: Entry) -> bool:
    return entry.truth is not None and entry.truth.stage == "speaker"


IDENTITY = Probe("identity", (DRIFT, KEPT), _wants, _read)
