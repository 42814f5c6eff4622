"""Pictures of performances: sets a stage, lays the puppets or props on it and knows where the mouths are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.puppets import face, props, sdf
from phonofilm.puppets.face import Motion, Place
from phonofilm.puppets.head import DOMAIN, draw_head
from phonofilm.puppets.looks import Look
from phonofilm.puppets.paint import BACKGROUND, Paint, colours, mix
from phonofilm.puppets.performance import Performance

ALONE = (Place(),)
PAIR = (Place(0.68, -11.5, 34.0), Place(0.68, 52.5, 34.0))
"""Two puppets side by side, left then right."""
FINENESS = 1.5
"""Samples of a head's texture per pixel."""
CHUNK = {"cpu": 2, "cuda": 64}
"""Clips drawn at a time: what fits into caches on a CPU, what fills a GPU."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Clips as pixels, with the truth about them."""

    video: UInt8[Tensor, "B T 3 H W"]
    mouth: Float[Tensor, "B T 4"]
    """Left, top, right and bottom of the lips of whoever speaks, in pixels; zeros where there is no mouth."""
    face: Float[Tensor, "B T H W"]
    """1 where a face is, without the hair around it."""


def gather(performances: Sequence[Performance], puppet: int, device: torch.device) -> Motion:
    """The curves of one puppet of each clip."""

    def stack(name: str) -> Tensor:
        return torch.stack([getattr(p, name)[puppet] for p in performances]).to(device, torch.float32)

    names = ("opening", "width", "blink", "head", "brow_raise", "brow_tilt", "smile")
    return Motion(**{name: stack(name) for name in names})


def backdrop(words: Sequence[str], size: int, device: torch.device) -> Float[Tensor, "B 3 H W"]:
    """Plain walls, a little darker towards the corners."""
    steps = (torch.arange(size, device=device) + 0.5) / size - 0.5
    fall = 1 - 0.22 * (steps**2 + (steps[:, None] + 0.1) ** 2)
    return colours(BACKGROUND, words, device)[..., None, None] * fall


def lay_body(plate: Float[Tensor, "B 3 H W"], paint: Paint, place: Place) -> Float[Tensor, "B 3 H W"]:
    """Shoulders, a neckline and a collar."""
    size = plate.shape[-1]
    pixels = place.scale * size / 128
    steps = (torch.arange(size, device=plate.device) + 0.5) / pixels
    x, y = (steps - place.x / place.scale - 64).abs(), steps[:, None] - place.y / place.scale
    man = paint.man[:, None, None]
    body = sdf.box(x, y - 152, 46 + 7 * man, 36, 26.0)
    collar = sdf.ellipse(x, y - 113, 19 + 3 * man, 10)
    skin = sdf.ellipse(x, y - 112, 15.5 + 3 * man, 8)
    for shape, colour in ((body, paint.clothing), (sdf.union(collar, body * 0 + 99), paint.clothing * 0.8)):
        plate = torch.lerp(plate, colour[..., None, None], sdf.cover(torch.maximum(shape, body), pixels)[:, None])
    shade = paint.skin * torch.tensor([0.86, 0.80, 0.78], device=plate.device)
    return torch.lerp(plate, shade[..., None, None], sdf.cover(skin, pixels)[:, None])


def lay_head(
    canvas: Float[Tensor, "B 3 T H W"], paint: Paint, motion: Motion, place: Place
) -> Float[Tensor, "B T H W"]:
    """Draw one puppet's head per clip into ``canvas``, which belongs to ``draw``; returns the face mask."""
    size = canvas.shape[-1]
    pose = face.pose(motion, place, size)
    texture = draw_head(paint, round(FINENESS * pose.pixels * DOMAIN[2]), pose.pixels)
    area = face.window(place, size, (-2.0, 0.0, 130.0, 140.0))
    batch, frames = motion.opening.shape
    rows, columns = area.bottom - area.top, area.right - area.left
    grid = torch.stack(face.own_points(pose, area), dim=-1)
    grid = (grid - grid.new_tensor([DOMAIN[0], DOMAIN[1]])) * (2 / DOMAIN[2]) - 1
    seen = F.grid_sample(texture, grid.view(batch, frames * rows, columns, 2), align_corners=False)
    seen = seen.view(batch, 5, frames, rows, columns)
    mask = canvas.new_zeros(batch, frames, size, size)
    r, c = area.index
    mask[:, :, r, c] = seen[:, 4]
    canvas[..., r, c].mul_(1 - seen[:, 3:4]).add_(seen[:, :3])
    for box, drawing in ((face.EYES_BOX, face.draw_eyes), (face.MOUTH_BOX, face.draw_mouth)):
        part = face.window(place, size, box)
        r, c = part.index
        own = face.own_points(pose, part)
        canvas[..., r, c] = drawing(canvas[..., r, c], own, motion, paint, pose.pixels)
    return mask


def mouth_boxes(motion: Motion, place: Place, size: int) -> Float[Tensor, "B T 4"]:
    """Boxes around lips, in pixels."""
    corners = face.picture_points(face.pose(motion, place, size), face.mouth_corners(motion))
    return torch.cat([corners.amin(dim=2), corners.amax(dim=2)], dim=-1).clamp(0, size)


def draw_people(performances: Sequence[Performance], size: int, device: torch.device) -> Drawing:
    """One or two puppets in close-up."""
    scripts = [p.script for p in performances]
    places = ALONE if len(scripts[0].looks) == 1 else PAIR
    frames = scripts[0].num_frames
    plate = backdrop([s.scenery.background for s in scripts], size, device)
    looks: list[list[Look]] = [[s.looks[i] for s in scripts] for i in range(len(places))]
    paints = [mix(k, device) for k in looks]
    for paint, place in zip(paints, places, strict=True):
        plate = lay_body(plate, paint, place)
    canvas = plate[:, :, None].repeat(1, 1, frames, 1, 1)
    mouth = canvas.new_zeros(len(scripts), frames, 4)
    mask = canvas.new_zeros(len(scripts), frames, size, size)
    for i, (paint, place) in enumerate(zip(paints, places, strict=True)):
        motion = gather(performances, i, device)
        mask = torch.maximum(mask, lay_head(canvas, paint, motion, place))
        speaking = torch.stack([p.speaking[i] for p in performances]).to(device)
        chosen = (speaking > 0.5) | torch.tensor(i == 0, device=device)
        mouth = torch.where(chosen[..., None], mouth_boxes(motion, place, size), mouth)
    return Drawing(video=to_pixels(canvas), mouth=mouth, face=mask)


def to_pixels(canvas: Float[Tensor, "B 3 T H W"]) -> UInt8[Tensor, "B T 3 H W"]:
    """Round to bytes, pixel frames first."""
    batch, _, frames, height, width = canvas.shape
    video = torch.empty(batch, frames, 3, height, width, dtype=torch.uint8, device=canvas.device)
    return video.copy_((canvas + 0.5).clamp_(0, 255).transpose(1, 2))


def draw_props(performances: Sequence[Performance], size: int, device: torch.device) -> Drawing:
    """Stages without people, all of the same name."""
    scripts = [p.script for p in performances]
    plate = backdrop([s.scenery.background for s in scripts], size, device)
    canvas = props.DRAW[scripts[0].stage](performances, plate)
    batch, _, frames = canvas.shape[:3]
    return Drawing(
        video=to_pixels(canvas),
        mouth=canvas.new_zeros(batch, frames, 4),
        face=canvas.new_zeros(batch, frames, size, size),
    )


def draw(performances: Sequence[Performance], *, size: int = 128, device: str | torch.device = "cpu") -> Drawing:
    """Draw clips of equal length; the stages may differ.

    Raises ValueError if there is nothing to draw or lengths differ.
    """
    frames = {p.script.num_frames for p in performances}
    if len(frames) != 1:
        raise ValueError(f"clips drawn together must have one length, not {sorted(frames)}: draw them apart")
    device = torch.device(device)
    kinds: dict[tuple[str, int], list[int]] = {}
    for i, p in enumerate(performances):
        kinds.setdefault((p.script.stage if not p.script.looks else "", len(p.script.looks)), []).append(i)
    shape = (len(performances), frames.pop(), size, size)
    whole = Drawing(
        video=torch.empty(*shape[:2], 3, size, size, dtype=torch.uint8, device=device),
        mouth=torch.empty(*shape[:2], 4, device=device),
        face=torch.empty(shape, device=device),
    )
    step = CHUNK.get(device.type, 8)
    for (_, people), indices in kinds.items():
        for k in range(0, len(indices), step):
            some = indices[k : k + step]
            chosen = [performances[i] for i in some]
            part = draw_people(chosen, size, device) if people else draw_props(chosen, size, device)
            whole.video[some], whole.mouth[some], whole.face[some] = part.video, part.mouth, part.face
    return whole
