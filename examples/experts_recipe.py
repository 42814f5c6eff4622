"""The recipe of examples/experts.py: puppets as in ``jova_study``, 4.3 M parameters."""

from __future__ import annotations

from dataclasses import replace

from examples.experts import Experts
from phonofilm.diffusion import tasks
from phonofilm.diffusion.guidance import Both, Guidance, unlinked
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.encoders import text
from phonofilm.network.context import ByteText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import Data, DiTTime, StreamConfig
from phonofilm.recipes import jova, pocket
from phonofilm.recipes.experiment import Experiment, LinkDropout
from phonofilm.types import CLOSED


def experts_study() -> Experiment:
    """The same data, budget, codecs and text as ``jova_study``; another network, tasks and guidance."""
    rope = Rope(sizes=(36, 18, 18), scale=(32.0, 1.0, 1.0), theta=100.0)
    audio = StreamConfig(channels=20, width=144, heads=2, mlp=576, rope=rope, time=DiTTime(width=64))
    return replace(
        jova.jova_study(),
        name="experts_study",
        model=Experts(
            video=replace(audio, channels=256, predict=Data()),
            audio=audio,
            text=ByteText(fields=pocket.FIELDS, characters=text.NUM_IDS, space=text.SPACE, inner=144),
            num_experts=2,
            num_trunk=4,
        ),
        tasks=((tasks.T2AV, 0.5), (tasks.I2AV, 0.2), (tasks.A2V, 0.15), (tasks.V2A, 0.15)),
        losses=(FlowLoss(),),
        regions=(),
        link_dropout=(LinkDropout(links=CLOSED, share=0.1),),
        guidance=(Guidance(contrast=Both((pocket.NEGATIVE, unlinked)), video_scale=2.5, audio_scale=2.5),),
    )
