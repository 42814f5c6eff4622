"""Truth read from pixels alone: how open a mouth is, and what a puppet looks like; balls are ``bounces.py``'s.

These are the eyes of evaluation: they see drawn and generated clips alike, through lossy codecs, and know nothing of
scripts. Pictures of people are close-ups of one puppet, as stage.py draws them.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from phonofilm.puppets.face import GAPE
from phonofilm.puppets.head import EYE, LENS, MIDDLE, MOUTH_Y
from phonofilm.puppets.paint import BACKGROUND, HAIR, LIPS, MOUTH, SKIN, Colour

SEARCH = (36.0, 66.0, 92.0, 114.0)
"""Mouths are looked for between these (left, top, right, bottom), in 1/128 of the picture's height."""
FEWEST = 12.0
"""Square units of lips below which there is no mouth."""
LOOKED_AT = 16
"""Pixel frames that looks are read from, spread over the clip: looks do not change."""
LUMA = (0.299, 0.587, 0.114)


def units(
    video: UInt8[Tensor, "T 3 H W"],
) -> tuple[Float[Tensor, "T 3 H W"], Float[Tensor, " W"], Float[Tensor, " H"]]:
    """Colours as floats, and x and y of the pixels' middles in 1/128 of the picture's height."""
    if video.ndim != 4 or not len(video) or video.shape[1] != 3:
        raise ValueError(f"got pixels of shape {tuple(video.shape)}: give (frames, 3, height, width)")
    height, width = video.shape[-2:]
    unit = 128 / height
    x = (torch.arange(width, device=video.device) + 0.5) * unit
    y = (torch.arange(height, device=video.device) + 0.5) * unit
    return video.float(), x, y


def _luma(pixels: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T H W"]:
    return sum(share * pixels[:, i] for i, share in enumerate(LUMA))  # pyright: ignore[reportReturnType]


def _brightness(colour: Colour) -> float:
    return sum(share * value for share, value in zip(LUMA, colour))


def _mouthness(pixels: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T H W"]:
    """How surely a pixel is lips or the inside of a mouth: purplish red, unlike any skin or hair."""
    red, green, blue = pixels.unbind(1)
    return torch.sigmoid((red - green - 62) / 7) * torch.sigmoid((blue - green + 6) / 6)


def find_mouth(pixels: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mouthness near the mouth, 0 elsewhere, and the mouth's middle in each frame; NaN where there is none."""
    left, top, right, bottom = SEARCH
    inside = (x > left) & (x < right) & ((y > top) & (y < bottom))[:, None]
    sure = _mouthness(pixels) * inside
    unit = float(x[1] - x[0])
    for reach in (19.0, 16.0):
        mass = sure.sum((1, 2))
        cx, cy = (sure * x).sum((1, 2)) / mass, (sure * y[:, None]).sum((1, 2)) / mass
        none = mass * unit**2 < FEWEST
        cx, cy = cx.masked_fill(none, float("nan")), cy.masked_fill(none, float("nan"))
        near = ((x - cx[:, None, None]) / reach) ** 2 + ((y[:, None] - cy[:, None, None]) / 13) ** 2 < 1
        sure = torch.where(near, sure, 0.0)
    return sure, cx, cy


def read_opening(video: UInt8[Tensor, "T 3 H W"]) -> Float[Tensor, " T"]:
    """How open the mouth is in each pixel frame: the height of the dark between the lips, 0 closed to 1 wide open.

    0 where no mouth is found. Raises ValueError for what is not a picture sequence.
    """
    pixels, x, y = units(video)
    scale = len(y) / 128
    columns, rows = (x > SEARCH[0] - 2) & (x < SEARCH[2] + 2), (y > SEARCH[1] - 2) & (y < SEARCH[3] + 2)
    pixels, x, y = pixels[:, :, rows][..., columns], x[columns], y[rows]
    sure, cx, _ = find_mouth(pixels, x, y)
    bright = sum(_brightness(colour) for colour in LIPS.values()) / len(LIPS)
    # Codecs blur colour more than light: a pixel beside lips belongs to the mouth as much as they do.
    sure = max_pool2d(sure, 3, 1, 1)
    dark = ((bright - _luma(pixels)) / (bright - _brightness(MOUTH))).clamp(0, 1) * sure
    middle = ((4.5 - (x - cx[:, None]).abs()) * scale + 0.5).clamp(0, 1)
    height = (dark.sum(1) * middle).sum(1) / middle.sum(1) / scale
    # Teeth and the brighter tongue take their shares of the opening; closed lips meet in a line.
    return ((height - 0.1) / (0.66 * GAPE)).nan_to_num(0.0).clamp(0, 1.2)


def nearest(pixels: Float[Tensor, "N 3"], table: dict[str, Colour]) -> str:
    """The word in a table for which most of these pixels vote."""
    palette = pixels.new_tensor(list(table.values()))
    votes = torch.cdist(pixels, palette).argmin(1).bincount(minlength=len(table))
    return list(table)[int(votes.argmax())]


def patch_of(pixels: Tensor, xy: tuple[Tensor, Tensor], centre: tuple[Tensor, Tensor],
           box: tuple[float, float, float, float]) -> Float[Tensor, "N 3"]:  # fmt: skip
    """All pixels of a box (left, top, right, bottom) that moves with the middle of the mouth."""
    x, y = xy[0] - centre[0][:, None], xy[1] - centre[1][:, None]
    left, top, right, bottom = box
    across = (x > left - MIDDLE) & (x < right - MIDDLE)
    down = (y > top - MOUTH_Y) & (y < bottom - MOUTH_Y)
    return pixels.movedim(1, -1)[across[:, None, :] & down[:, :, None]]


def middles_of(pixels: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where the mouth's middle is, frame by frame; the usual place where it is not seen."""
    _, cx, cy = find_mouth(pixels, x, y)
    return cx.nan_to_num(MIDDLE), (cy - 0.4).nan_to_num(MOUTH_Y)


def read_look(video: UInt8[Tensor, "T 3 H W"]) -> dict[str, str | bool]:
    """What one puppet looks like: background, hair, skin and cut in words of looks.py; glasses and beard.

    Always answers, with the nearest word. Raises ValueError for what is not a picture sequence.
    """
    pixels, x, y = units(video[:: max(1, len(video) // LOOKED_AT)])
    xy, centre = (x, y), middles_of(pixels, x, y)
    corners = pixels[..., y < 13, :][..., (x < 13) | (x > x[-1] - 13)].movedim(1, -1).flatten(0, -2)
    wall = corners.median(0).values
    background = nearest(corners * 1.09, BACKGROUND)
    hair = nearest(patch_of(pixels, xy, centre, (57.0, 15.0, 71.0, 25.0)), HAIR)
    cheeks = patch_of(pixels, xy, centre, (46.0, 66.0, 82.0, 76.0))
    skin = nearest(cheeks, SKIN)
    return {
        "background": background,
        "hair": hair,
        "skin": skin,
        "cut": _read_cut(
            pixels, y, centre[1], torch.stack([wall, wall.new_tensor(HAIR[hair]), wall.new_tensor(SKIN[skin])])
        ),
        "glasses": _read_glasses(pixels, xy, centre, skin),
        "beard": _read_beard(patch_of(pixels, xy, centre, (54.0, 104.0, 74.0, 108.5)), HAIR[hair], SKIN[skin]),
    }


def _read_cut(pixels: Tensor, y: Tensor, middle: Tensor, palette: Float[Tensor, "3 3"]) -> str:
    """Long, curly or short by how much of the wall is seen beside the neck and beside the brows."""
    down = y - middle[:, None] + MOUTH_Y
    neck, brows = (_wall_beside(pixels, (down > low) & (down < low + 5), palette) for low in (98.0, 38.0))
    if neck < 63:
        return "long"
    return "curly" if brows < 45 else "short"


def _wall_beside(pixels: Float[Tensor, "T 3 H W"], strip: Bool[Tensor, "T H"], palette: Float[Tensor, "3 3"]) -> float:
    """How much wall, the first colour of the palette, is seen in these rows, in 1/128 of the width; NaN without rows.

    The median over the rows of all pixel frames.
    """
    rows = strip.any(0).nonzero()[:, 0].tolist()
    if not rows:
        return math.nan
    near = slice(max(0, rows[0] - 1), rows[-1] + 2)  # smoothing looks one row further
    smooth = avg_pool2d(pixels[:, :, near], 3, 1, 1, count_include_pad=False)
    distances = torch.stack([(smooth - colour[:, None, None]).square().sum(1) for colour in palette])
    wall = (distances[0] <= distances[1:].amin(0)).float()
    # From each edge inwards: blends of hair and skin may look like some wall, but not there.
    wall = (wall.cumprod(-1) + wall.flip(-1).cumprod(-1)).mean(-1) * 128
    return float(wall[strip[:, near]].median())


def _read_glasses(pixels: Tensor, xy: tuple[Tensor, Tensor], centre: tuple[Tensor, Tensor], skin: str) -> bool:
    """Whether something dark runs below the eyes, where the frames of glasses do."""
    low = EYE[1] + 0.5 + LENS
    threshold = 0.62 * _brightness(SKIN[skin])
    luma, seen = _luma(pixels), []
    for side in (-1, 1):
        x = MIDDLE + side * EYE[0]
        for k in range(3):
            strip = x - 4.5 + 3 * k
            patch = _darkest(luma, xy, centre, (strip, low - 5.5, strip + 3, low + 4.5))
            seen.append(patch < threshold)
    return bool(torch.stack(seen).float().mean() > 0.5)


def _darkest(luma: Tensor, xy: tuple[Tensor, Tensor], centre: tuple[Tensor, Tensor],
             box: tuple[float, float, float, float]) -> Float[Tensor, " T"]:  # fmt: skip
    """The darkest row, averaged over columns, of a box that moves with the middle of the mouth."""
    x, y = xy[0] - centre[0][:, None], xy[1] - centre[1][:, None]
    left, top, right, bottom = box
    across = ((x > left - MIDDLE) & (x < right - MIDDLE)).float()
    luma = torch.einsum("thw,tw->th", luma, across) / across.sum(1, keepdim=True).clamp(min=1)
    down = (y > top - MOUTH_Y) & (y < bottom - MOUTH_Y)
    return luma.masked_fill(~down, 255.0).amin(1)


def _read_beard(chin: Float[Tensor, "N 3"], hair: Colour, skin: Colour) -> bool:
    """Whether the chin has the colour of the hair rather than of the skin."""
    distances = torch.cdist(chin, chin.new_tensor([hair, skin]))
    return bool((distances[:, 0] < distances[:, 1]).float().mean() > 0.5)
