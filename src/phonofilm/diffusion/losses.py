"""What training minimises. Each loss names its terms; the trainer adds them up and logs them apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.diffusion.flow import Weight, even, velocity
from phonofilm.types import AVInput, AVOutput, Batch, Stream


@dataclass(frozen=True, kw_only=True)
class FlowLoss:
    """Squared error of the velocity over generated tokens, with a heavier region in the picture.

    ``weight`` is JoVA's mouth-area lambda: cells of the region count ``1 + weight`` times. The weight map (rather
    than a mean of its own over the region) is [inferred]; the paper names lambda 5.
    """

    audio: float = 1.0
    """Weight of the sound's term."""
    region: str = ""
    """Name of the region that counts more; empty for none."""
    weight: float = 0.0
    levels: Weight = even
    """How much a sample counts by its noise level."""

    def __post_init__(self) -> None:
        if bool(self.region) != bool(self.weight):
            raise ValueError(
                f"region {self.region!r} and weight {self.weight} must be set together: one alone has no effect"
            )

    def __call__(self, input: AVInput, output: AVOutput, batch: Batch, step: int) -> dict[str, Tensor]:
        """Terms "video" and "audio", each a weighted mean over generated tokens."""
        region = batch.regions[self.region] if self.region else None
        return {
            "video": stream_loss(input.video, output.video, batch.video, region, self.weight, self.levels),
            "audio": self.audio * stream_loss(input.audio, output.audio, batch.audio, None, 0.0, self.levels),
        }


@dataclass(frozen=True, kw_only=True)
class FaceLoss:
    """Squared error of the face masks that a network predicts in its layers (UniAVGen, section 3.3).

    The mean over layers and tokens, so that the weight means the same for any depth [inferred]. A token's truth is the
    share of its latent cells that the region touches.
    """

    weight: float = 0.1
    """At the first step."""
    horizon: float
    """The step from which on the weight is 0; between, it falls linearly. ``math.inf`` keeps it as it is."""
    region: str = "face"

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.horizon < 1:
            raise ValueError(f"weight {self.weight} until step {self.horizon}: the loss would have no effect")

    def at(self, step: int) -> float:
        """The weight at a step."""
        return self.weight * max(0.0, 1 - step / self.horizon)

    def __call__(self, input: AVInput, output: AVOutput, batch: Batch, step: int) -> dict[str, Tensor]:
        """Term "face"; 0 where the links are closed and no mask was predicted."""
        masks = [mask for name, mask in output.aux.items() if name.startswith("face.")]
        if not masks:
            return {"face": output.video.new_zeros(())}
        truth = batch.regions[self.region].mean(dim=-1)
        error = torch.stack([(mask.float() - truth[:, : mask.shape[1]]).square().mean() for mask in masks]).mean()
        return {"face": self.at(step) * error}


def stream_loss(
    stream: Stream,
    predicted: Float[Tensor, "B S C"],
    data: Float[Tensor, "B N C"],
    region: Float[Tensor, "B N K"] | None,
    weight: float,
    levels: Weight = even,
) -> Float[Tensor, ""]:
    """Sum over generated tokens of ``(1 + weight * region) * error ** 2``, over the number of their channels.

    References, which follow the grid's tokens, have no part in it. ``levels`` weighs the samples by their sigma.
    """
    count = stream.grid.tokens
    error = (predicted[:, :count].float() - velocity(stream.x[:, :count], data[:, :count], stream.sigma)).square()
    if region is not None:
        cells = region.shape[-1]
        error = (error.unflatten(-1, (-1, cells)) * (1 + weight * region[:, :count].unsqueeze(2))).flatten(2)
    fresh = ~stream.given[:, :count]
    kept = error * fresh.unsqueeze(-1) * levels(stream.sigma)[:, None, None]
    return kept.sum() / (fresh.sum() * error.shape[-1]).clamp(min=1)


def total(terms: dict[str, Tensor]) -> Float[Tensor, ""]:
    """The sum that is differentiated."""
    return torch.stack(list(terms.values())).sum()
