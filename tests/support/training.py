"""A training in miniature: random latents, a JoVA of one layer. Run as a program it trains (for tests that kill it)."""

import sys
from dataclasses import dataclass, replace

import torch
from models import thin

from phonofilm.data.samples import Codes, Sample
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry
from phonofilm.recipes.experiment import Experiment, Optim, Train
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import Grid, Prompt

CODES = Codes(temporal_stride=4, spatial_stride=16, video_channels=4, sample_rate=16000, hop=512, audio_channels=20)
AUDIO = Grid(7, 1, 1, 0.032, 0.032)
GEOMETRY = Geometry(num_frames=5, height=32, width=64, fps=24.0)


@dataclass(frozen=True)
class Noise:
    """Random latents by index."""

    size: int = 12
    codes: Codes = CODES
    geometry: Geometry = GEOMETRY
    speaker: str = ""
    reference: Reference | None = None
    voice: int = 1
    """Channels of a speaker vector."""
    regions: tuple[str, ...] = ("sounding",)
    spoil: int | None = -1
    """Index of a clip of no numbers; None for all of them."""

    @property
    def buckets(self):
        return {5: self.size, 9: self.size // 2}

    def read(self, num_frames, indices):
        return [self.sample(num_frames, index) for index in indices]

    def sample(self, num_frames, index):
        g = torch.Generator().manual_seed(num_frames * 1000 + index)
        frames, hops = 1 + (num_frames - 1) // 4, -(-round(num_frames / 24 * 16000) // 512)
        video = torch.randn(self.codes.video_channels, frames, 2, 4, generator=g)
        return Sample(
            video=video * float("nan") if self.spoil in (index, None) else video,
            audio=torch.randn(20, hops, generator=g),
            regions={name: (torch.rand(1, frames, 2, 4, generator=g) > 0.8).float() for name in self.regions},
            prompt=Prompt(scene=f"scene {index}", speech=(("", "say " * (index % 3)),)),
            seed=index,
            voices=(("", torch.randn(self.voice, generator=g)),) if self.speaker else (),
            reference=torch.randn(20, self.reference.tokens(AUDIO), generator=g) if self.reference else None,
        )

    def refreshed(self):
        return self


def tiny(**settings) -> Experiment:
    """jova_pocket with one layer of width 32."""
    pocket = find_recipe("jova_pocket")
    train = {"steps": 6, "batch": 4, "save_every": 2, "sample_every": 4, "seed": 3, "arithmetic": "float32"} | settings
    return replace(
        pocket, model=thin(pocket.model), geometry=GEOMETRY, optim=Optim(lr=1e-2, warmup=2), train=Train(**train)
    )


if __name__ == "__main__":
    from phonofilm.train.loop import Origin, train

    folder, steps = sys.argv[1:]
    torch.set_num_threads(1)
    train(tiny(steps=int(steps)), Noise(), folder, origin=Origin(device="cpu"))
