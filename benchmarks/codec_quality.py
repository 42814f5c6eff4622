"""How near video codecs bring pictures back: python benchmarks/codec_quality.py FOLDER [FOLDER ...] --footage CLIPS.

Each FOLDER holds a ``vae``; the shipped codec comes first. Puppet clips of the test split, drawn here (49 pixel frames
of 128 x 128), and every film in CLIPS, its middle square at 128 x 128. PSNR in dB, means over clips: of all pixels, of
the mouth box, of pixels that have just changed, and of all with noise on the latents, which a generator's have. Seam:
the mean step between neighbours across the edges of latents over the mean step inside, of the picture, of the true one,
and of the error. The latents' mean square, and that of their change from one latent frame to the next. Seconds to
decode one puppet clip: medians of seven.
"""

import argparse
import math
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import phonofilm
from phonofilm.codecs.loading import StoredVideo, load_video_codec
from phonofilm.files.media import read_clip
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import Script, write_script
from phonofilm.puppets.stage import draw
from phonofilm.train.codecs.convolutional import MOVED
from phonofilm.train.codecs.jobs import decibels, seam
from phonofilm.train.codecs.pool import box_mask, to_video

SIZE = 128
SHIPPED = Path(phonofilm.__file__).parent / "models" / "pocket"


def scripts(count: int) -> Iterator[Script]:
    """Stages in the shares that codecs are trained on, of looks and sentences that they are not trained on."""
    for seed in range(count):
        rng = random.Random(seed)
        share, other = rng.random(), rng.choice(("dialogue", "keyboard", "rain"))
        yield write_script(seed, split="test", stage="speaker" if share < 0.78 else "ball" if share < 0.92 else other)


def puppets(count: int) -> list[tuple[Tensor, Tensor]]:
    """Clips "1 3 T H W" in [-1, 1] with the masks of their mouths."""
    drawings = [draw([perform(script)], size=SIZE) for script in scripts(count)]
    return [(to_video(d.video[0].numpy())[None], box_mask(d.mouth[0].numpy(), SIZE)[None]) for d in drawings]


def film(path: Path) -> Tensor:
    """The middle square of a film, "1 3 T H W" in [-1, 1], of as many pixel frames as codecs take."""
    pictures = read_clip(path).video
    pictures = pictures[: (len(pictures) - 1) // 4 * 4 + 1]
    side = min(pictures.shape[2:])
    top, left = (pictures.shape[2] - side) // 2, (pictures.shape[3] - side) // 2
    square = pictures[:, :, top : top + side, left : left + side]
    small = torch.cat([F.interpolate(part.float(), (SIZE, SIZE), mode="area") for part in square.split(8)])
    return to_video(small.round().byte().numpy())[None]


@torch.no_grad()
def through(codec: StoredVideo, video: Tensor, noise: float = 0.0) -> Tensor:
    """Encoded, noised, decoded, and rounded to bytes as a clip's pictures are."""
    latents = codec.encode(video)
    made = codec.decode(latents + noise * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)))
    return ((made + 1) * 127.5).round() / 127.5 - 1


def within(square: Tensor, mask: Tensor) -> float:
    """Decibels of the pixels in a mask; not a number where it is empty."""
    return decibels(((square * mask).sum() / (3 * mask.sum())).item()) if mask.any() else math.nan


@torch.no_grad()
def figures(codec: StoredVideo, video: Tensor, mouth: Tensor) -> dict[str, float]:
    """All figures of one clip."""
    made, latents = through(codec, video), codec.encode(video)
    square = (made - video).square()
    moving = video.diff(dim=2, prepend=video[:, :, :1]).abs().mean(dim=1, keepdim=True) > MOVED
    forgiving = (through(codec, video, 0.2) - video).square().mean().item()
    return {
        "PSNR": decibels(square.mean().item()),
        "PSNR, mouth": within(square, mouth),
        "PSNR, moving": within(square, moving.float()),
        "PSNR, latents noised by 0.2": decibels(forgiving),
        "seam": seam(made, codec.spatial_stride),
        "seam of the true picture": seam(video, codec.spatial_stride),
        "seam of the error": seam(made - video, codec.spatial_stride),
        "mean square of latents": latents.square().mean().item(),
        "mean square of their change": latents.diff(dim=2).square().mean().item(),
    }


def quality(codec: StoredVideo, clips: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means of the figures over the clips that have them."""
    found = [figures(codec, *clip) for clip in clips]
    return {name: float(np.nanmean([each[name] for each in found])) for name in found[0]}


@torch.no_grad()
def decode_seconds(codec: StoredVideo, video: Tensor) -> dict[str, float]:
    """Medians of seven, warm: by the clock, and of all threads' processors, which other work does not lengthen much."""
    latents, clock, processor = codec.encode(video), [], []
    for _ in range(8):
        begun = time.perf_counter(), time.process_time()
        codec.decode(latents)
        clock.append(time.perf_counter() - begun[0])
        processor.append(time.process_time() - begun[1])
    return {"decode, s": statistics.median(clock[1:]), "decode, processor s": statistics.median(processor[1:])}


def picture(codecs: dict[str, StoredVideo], clips: list[tuple[Tensor, Tensor]], path: Path) -> None:
    """One pixel frame of some clips, truth first, then each codec's, mouths four times as large beneath."""
    rows = []
    for video, mask in clips:
        frame = int(mask.sum(dim=(0, 1, 3, 4)).argmax()) if mask.any() else video.shape[2] // 2
        shown = [video, *(through(codec, video) for codec in codecs.values())]
        stills = [((v[0, :, frame] + 1) * 127.5).byte().permute(1, 2, 0).numpy() for v in shown]
        where = mask[0, 0, frame].nonzero().float().mean(dim=0) if mask.any() else torch.tensor([64.0, 64.0])
        top, left = ((where - 16).clamp(0, SIZE - 32)).int().tolist()
        close = [np.kron(s[top : top + 32, left : left + 32], np.ones((8, 8, 1), np.uint8)) for s in stills]
        large = [np.kron(s, np.ones((2, 2, 1), np.uint8)) for s in stills]
        rows.append(np.concatenate([np.concatenate(pair, 1) for pair in zip(large, close, strict=True)], 1))
    Image.fromarray(np.concatenate(rows, 0)).save(path)


def main() -> None:
    """Print the table in Markdown, and write a picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    codecs = {str(folder): load_video_codec(folder) for folder in (SHIPPED, *options.folders)}
    clips = puppets(options.clips)
    rows = {name: quality(codec, clips) for name, codec in codecs.items()}
    for path in sorted(options.footage.glob("*.mp4")) if options.footage else []:
        video = film(path)
        for name, codec in codecs.items():
            rows[name][path.stem] = decibels((through(codec, video) - video).square().mean().item())
    for name, codec in codecs.items():
        rows[name] |= decode_seconds(codec, clips[0][0])
    print("| figure |", " | ".join(["shipped", *map(str, options.folders)]), "|")
    print("|---|" + "---|" * len(codecs))
    for figure in rows[str(SHIPPED)]:
        print(f"| {figure} |", " | ".join(f"{row[figure]:.2f}" for row in rows.values()), "|")
    print(f"\n{options.clips} puppet clips, {torch.get_num_threads()} threads")
    if options.picture:
        picture(codecs, clips[:4], options.picture)


if __name__ == "__main__":
    main()
