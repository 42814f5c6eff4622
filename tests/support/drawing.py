"""Puppets whose every curve is known, and what a lossy codec makes of their pictures."""

import torch

from phonofilm.puppets.looks import Ball, Look, Scenery
from phonofilm.puppets.performance import Performance
from phonofilm.puppets.script import Script
from phonofilm.types import Prompt

LOOK = Look("woman", "pale", "red", "long", False, False, "green", "blue", "white")
MAN = Look("man", "dark", "black", "curly", True, True, "brown", "orange", "yellow")


def play(*looks, stage_name="speaker", num_frames=5, **curves):
    """A performance with still heads, mouths half open; ``curves`` replaces some of it."""
    people = len(looks)
    background = looks[0].background if looks else "green"
    script = Script(
        seed=3,
        stage=stage_name,
        grammar="",
        looks=looks,
        lines=(),
        emotion="neutral",
        scenery=Scenery(background, colour="red", floor="grey", strength="heavy"),
        events=(),
        ball=Ball(0.4, 0.0, 0.3, 0.6, 0.8, 3.0) if stage_name == "ball" else None,
        num_frames=num_frames,
        fps=24.0,
        prompt=Prompt(),
    )
    still = {
        name: torch.full((people, num_frames), value)
        for name, value in {
            "opening": 0.5,
            "width": 0.5,
            "speaking": 1.0,
            "blink": 0.0,
            "brow_raise": 0.0,
            "brow_tilt": 0.0,
            "smile": 0.0,
        }.items()
    }
    still |= {
        "head": torch.zeros(people, num_frames, 3),
        "ball": torch.tensor([[0.4, 0.3]]).repeat(num_frames, 1),
        "keys": torch.zeros(num_frames, 8),
    }
    return Performance(
        script=script,
        wave=torch.zeros(1, round(num_frames / 24 * 16000)),
        phonemes=((),) * people,
        words=(),
        **(still | curves),
    )


def blurred(video, seed=0):
    """Half the resolution, and noise."""
    g = torch.Generator().manual_seed(seed)
    small = torch.nn.functional.avg_pool2d(video.float(), 2)
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    return (large + 5 * torch.randn(large.shape, generator=g)).round().clamp(0, 255).to(torch.uint8)
