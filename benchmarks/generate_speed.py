"""How long one clip takes against how long it lasts: python benchmarks/generate_speed.py [MODEL] [REPEATS].

Warm, one clip at a time, with as many threads as the machine has cores. Prints seconds of sampling, decoding and
writing, and their sum over the clip's length: below 1 it is made faster than it plays.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

import phonofilm
from phonofilm.files.media import write_clip
from phonofilm.generation import pipeline as generate
from phonofilm.types import Prompt, Request

PROMPT = Prompt(scene="a woman with red hair, pale skin, blue background", speech=(("", "set white with p two soon"),))


def measured(model: str, repeats: int) -> dict[str, float]:
    pipeline = phonofilm.load(model)
    decoding = []
    decode = generate.decode

    def timed(*arguments):
        begun = time.perf_counter()
        clips = decode(*arguments)
        decoding.append(time.perf_counter() - begun)
        return clips

    generate.decode = timed
    making, writing = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats + 1):  # the first is warm-up
            begun = time.perf_counter()
            clip = pipeline.generate(Request(prompt=PROMPT, seed=turn))
            making.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            write_clip(Path(folder) / "clip.mp4", clip)
            writing.append(time.perf_counter() - begun)
    median = {
        name: sorted(values[1:])[repeats // 2]
        for name, values in (("make", making), ("decode", decoding), ("write", writing))
    }
    return {
        "sampling": median["make"] - median["decode"],
        "decoding": median["decode"],
        "writing": median["write"],
        "ratio": (median["make"] + median["write"]) / clip.seconds,
    }


if __name__ == "__main__":
    figures = measured(sys.argv[1] if len(sys.argv) > 1 else "pocket", int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    print(", ".join(f"{name} {value:.2f}" for name, value in figures.items()), f"({torch.get_num_threads()} threads)")
