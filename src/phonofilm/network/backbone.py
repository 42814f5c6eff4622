"""The skeleton that all architectures share: two ports in, a list of blocks, two ports out."""

from __future__ import annotations

from torch import nn

from phonofilm.network.blocks import State
from phonofilm.network.ports import Port
from phonofilm.types import AVInput, AVOutput


class Backbone(nn.Module):
    """Everything between an ``AVInput`` and an ``AVOutput``.

    Sharding, checkpointing, compilation, layer skipping and caching iterate over ``blocks``.
    """

    def __init__(self, video: Port, audio: Port, context: nn.Module, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.video = video
        self.audio = audio
        self.context = context
        self.blocks = blocks

    def forward(self, input: AVInput) -> AVOutput:
        """The velocity of every token of both streams."""
        video_ctx, audio_ctx = self.context(input)
        state = State(
            video=self.video.enter(input.video, video_ctx),
            audio=self.audio.enter(input.audio, audio_ctx),
            links=input.links,
        )
        for index, block in enumerate(self.blocks):
            if index not in input.skip:
                state = block(state)
        return AVOutput(
            video=self.video.leave(state.video, input.video),
            audio=self.audio.leave(state.audio, input.audio),
            aux=state.aux,
        )
