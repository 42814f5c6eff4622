"""Where a ball is and when it touches the floor, read from pixels alone.

A generated ball is often a smear, and codecs that pack pixel frames show a fast one at several places at once. So no
single pixel frame is asked where the ball turns: flights of one gravity, from contact to contact, are fitted to the
whole path, and a contact counts where the ball was seen to come down and go up. How well this sees soft pictures whose
contacts are known is in docs/log.md (2026-11-22, seventh session).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.puppets.paint import BALL
from phonofilm.puppets.props import GROUND, RADIUS
from phonofilm.puppets.readback import units

COVER = 0.5
"""Share of the ball's colour from which a pixel counts as the ball."""
LEAST = 60.0
"""Square units (1/128 of the picture's height) of the ball's colour below which there is no ball."""
UNLIKE = 40.0
"""How far, of 255, a ball's colour must be from what is behind it."""
FEWEST = 8
"""Pixel frames with a ball below which nothing is fitted."""
GRAVITIES = np.geomspace(3.0, 24.0, 16)
"""Heights of the picture per second squared that are tried; the corpus has 3.7 to 20."""
FLIGHT = (0.16, 1.0)
"""Shortest and longest seconds between contacts; the corpus has 0.2 to 0.88."""
HIGHEST = 0.75
"""Of a flight, in heights of the picture: beyond it the ball would leave the picture."""
FINE = 4
"""Moments in a pixel frame at which a contact may be."""
ROBUST = 0.05
"""Heights of the picture from which a pixel frame's error counts linearly, no longer squared."""
PRICE = 0.02
"""What another flight must save, so that noise is not explained by bounces."""
DROP = 0.02
"""Heights of the picture that a ball must come down before a contact and go up behind it; the corpus's smallest bounce
is 0.023 high."""
SEEN = 5
"""Pixel frames with a ball from which on a side of a contact is asked for that: more than the four of a latent."""


class Path(NamedTuple):
    """Of a ball, by pixel frame."""

    middle: Float[Tensor, "T 2"]
    """In widths of the picture from the left and heights from the top; NaN where no ball is seen."""
    weight: Float[Tensor, " T"]
    """How much of it is seen: 1 for as much as in most pixel frames."""


def read_path(video: UInt8[Tensor, "T 3 H W"]) -> Path:
    """The path of whichever ball explains most of what differs from wall and floor.

    Raises ValueError for what is not a picture sequence.
    """
    pixels, x, y = units(video)
    unit, above = float(y[1] - y[0]), y < 128 * GROUND
    share = _share_of_ball(pixels[:, :, above])
    mass = share.sum((1, 2))
    middle = torch.stack(
        [(share * x).sum((1, 2)) / mass / (x[-1] + x[0]), (share * y[above, None]).sum((1, 2)) / mass / 128], dim=-1
    )
    seen = mass * unit**2 > LEAST
    usual = mass[seen].median() if seen.any() else mass.new_tensor(1.0)
    return Path(torch.where(seen[:, None], middle, torch.nan), (mass / usual).clamp(max=1.0) * seen)


def _share_of_ball(pixels: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T H W"]:
    """How much of each pixel is ball, of the colour for which that explains most; 0 where it explains less than half.

    What is behind the ball is the median of each row: wall and floor are even, and a ball is a fifth of a row.
    """
    behind = pixels.permute(2, 1, 0, 3).flatten(2).median(-1).values.T[:, :, None]
    apart = pixels - behind
    energy = apart.square().sum(1)
    best, found = 0.0, torch.zeros_like(energy)
    for colour in BALL.values():
        towards = pixels.new_tensor(colour)[:, None, None] - behind
        length = towards.square().sum(0).clamp(min=1.0)
        share = ((apart * towards).sum(1) / length).clamp(0, 1)
        left = (apart - share[:, None] * towards).square().sum(1)
        explained = float(((energy - left) * (length > UNLIKE**2)).sum())
        if explained > best:
            best, found = explained, share * ((share > COVER) & (left < share.square() * length))
    return found


def read_contacts(video: UInt8[Tensor, "T 3 H W"], fps: float) -> tuple[float, ...]:
    """Seconds at which the ball touches the floor, in the order of time; () where none is seen to bounce.

    Raises ValueError for what is not a picture sequence and for rates that are not positive.
    """
    if fps <= 0:
        raise ValueError(f"fps must be positive, not {fps}")
    path = read_path(video)
    known = path.weight > 0
    if int(known.sum()) < FEWEST:
        return ()
    seconds = ((torch.arange(len(video)) + 0.5) / fps)[known.cpu()].double().numpy()
    heights = (GROUND - RADIUS - path.middle[known, 1]).double().cpu().numpy()
    moments = _fit(seconds, heights, path.weight[known].double().cpu().numpy(), fps)
    flights = np.concatenate([[-np.inf], moments, [np.inf]])
    end = (len(video) + 0.5 / FINE) / fps  # the fit cannot tell less than half a step behind the clip from its end
    return tuple(
        float(moment)
        for before, moment, after in zip(flights, flights[1:], flights[2:])
        if 0 <= moment < end and _turns(seconds, heights, (before, moment, after))
    )


def _turns(seconds: np.ndarray, heights: np.ndarray, flights: tuple[float, float, float]) -> bool:
    """Whether the ball was seen higher before and behind a moment, as far as the clip goes on both sides."""
    before, moment, after = flights
    low = np.interp(moment, seconds, heights)
    sides = (heights[(seconds > start) & (seconds < end)] for start, end in ((before, moment), (moment, after)))
    drops = [side.max() - low for side in sides if len(side) >= SEEN]
    return bool(min(drops, default=-1.0) > DROP)


def _fit(seconds: np.ndarray, heights: np.ndarray, weights: np.ndarray, fps: float) -> np.ndarray:
    """The moments, some outside the clip, between which flights of one gravity explain the heights best.

    Exact on a grid of moments, by dynamic programming over what it costs to go from one contact to the next.
    """
    step, (shortest, longest) = 1 / (FINE * fps), FLIGHT
    begin = seconds[0] - longest
    starts = begin + step * np.arange(round((seconds[-1] - begin) / step) + 1)
    lengths = step * np.arange(round(shortest / step), round(longest / step) + 1)
    costs = PRICE + _flight_costs(seconds, heights, weights, starts, lengths)  # gravities, starts, lengths
    total = np.full((len(costs), len(starts) + round(longest / step) + 1), np.inf)
    total[:, : np.searchsorted(starts, seconds[0], side="right")] = 0.0  # the first contact: anywhere before
    came = np.full(total.shape, -1)
    for index in range(len(starts)):
        reached = slice(index + round(shortest / step), index + round(longest / step) + 1)
        new = total[:, index, None] + costs[:, index]
        came[:, reached] = np.where(new < total[:, reached], index, came[:, reached])
        total[:, reached] = np.minimum(total[:, reached], new)
    total[:, : len(starts)] = np.inf  # and the last one anywhere behind the last
    gravity, place = np.unravel_index(np.argmin(total), total.shape)
    found = [int(place)]
    while came[gravity, found[-1]] >= 0:
        found.append(int(came[gravity, found[-1]]))
    return begin + step * np.array(found[::-1])


def _flight_costs(
    seconds: np.ndarray, heights: np.ndarray, weights: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """What is left of the heights under one flight, for each gravity, start and length: Huber's loss of the errors."""
    first, last = np.searchsorted(seconds, starts), np.searchsorted(seconds, starts + lengths[-1])
    places = first[:, None] + np.arange((last - first).max())
    there, places = places < len(seconds), places.clip(max=len(seconds) - 1)
    since, height, weight = seconds[places] - starts[:, None], heights[places], weights[places]
    costs = np.empty((len(GRAVITIES), len(starts), len(lengths)))
    for index, length in enumerate(lengths):
        parabola = 0.5 * GRAVITIES[:, None, None] * since * (length - since)
        error = np.abs(height - parabola)
        loss = np.where(error < ROBUST, error**2 / (2 * ROBUST), error - ROBUST / 2)
        costs[:, :, index] = (loss * weight * (there & (since < length))).sum(-1)
        costs[GRAVITIES * length**2 / 8 > HIGHEST, :, index] = np.inf
    return costs
