"""How near video codecs bring pictures back: python benchmarks/codec_quality.py FOLDER [FOLDER ...] --footage CLIPS.

Each FOLDER holds a ``vae``; the shipped codec comes first. Puppet clips of the test split, drawn here (49 pixel frames
of 128 x 128), and every film in CLIPS, its middle square at 128 x 128. PSNR in dB, means over clips: of all pixels, of
the mouth box, and of pixels that have just changed. Seam: the mean step between neighbours across the edges of tokens
over the mean step inside, of the picture (and of the true one), and of the error. Seconds to decode one puppet clip:
the median of seven.
"""

import argparse
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
from phonofilm.media import read_clip
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import Script, write_script
from phonofilm.puppets.stage import draw
from phonofilm.train.codecs import decibels, seam
from phonofilm.train.convolutional import MOVED
from phonofilm.train.pool import box_mask, to_video

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
def through(codec: StoredVideo, video: Tensor) -> Tensor:
    """Encoded, decoded, and rounded to bytes as a clip's pictures are."""
    made = codec.decode(codec.encode(video))
    return ((made + 1) * 127.5).round() / 127.5 - 1


def within(square: Tensor, mask: Tensor) -> list[float]:
    """Decibels of the pixels in a mask, none where it is empty."""
    return [decibels(((square * mask).sum() / (3 * mask.sum())).item())] if mask.any() else []


def quality(codec: StoredVideo, clips: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Figures on clips with their mouths."""
    found: dict[str, list[float]] = {
        name: [] for name in ("PSNR", "mouth", "moving", "seam", "seam (true)", "seam (error)")
    }
    for video, mouth in clips:
        made = through(codec, video)
        square = (made - video).square()
        moving = video.diff(dim=2, prepend=video[:, :, :1]).abs().mean(dim=1, keepdim=True) > MOVED
        found["PSNR"].append(decibels(square.mean().item()))
        found["mouth"] += within(square, mouth)
        found["moving"] += within(square, moving.float())
        for name, part in (("seam", made), ("seam (true)", video), ("seam (error)", made - video)):
            found[name].append(seam(part, codec.spatial_stride))
    return {name: statistics.mean(values) for name, values in found.items() if values}


@torch.no_grad()
def decode_seconds(codec: StoredVideo, video: Tensor) -> float:
    """Median of seven, warm."""
    latents, seconds = codec.encode(video), []
    for _ in range(8):
        begun = time.perf_counter()
        codec.decode(latents)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


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
        rows[name]["decode s"] = decode_seconds(codec, clips[0][0])
    print("| figure |", " | ".join(["shipped", *map(str, options.folders)]), "|")
    print("|---|" + "---|" * len(codecs))
    for figure in rows[str(SHIPPED)]:
        print(f"| {figure} |", " | ".join(f"{row[figure]:.2f}" for row in rows.values()), "|")
    print(f"\n{options.clips} puppet clips, {torch.get_num_threads()} threads")
    if options.picture:
        picture(codecs, clips[:4], options.picture)


if __name__ == "__main__":
    main()
