"""Two clips from Python: one from a prompt, then one that brings a portrait to life: python examples/generate.py OUT.

The portrait is a frame of the first clip here; ``phonofilm.read_image("portrait.png")`` reads one of yours.
"""

import sys
from pathlib import Path

import phonofilm
from phonofilm import Pipeline, Prompt, Request

SCENE = "a woman with red hair, pale skin, blue background"


def write(pipeline: Pipeline, request: Request, path: Path) -> phonofilm.Clip:
    """Resolve, draw and write: the manifest in the mp4 says how the clip came to be (``phonofilm show FILE``)."""
    shot = pipeline.resolve(request)  # every refusal happens here, before anything is computed
    for line in (*shot.notes, *shot.warnings):
        print(f"{path.name}: {line}")
    (clip,) = pipeline.draw([shot])
    phonofilm.write_clip(path, clip, manifest=pipeline.manifest(shot))
    seconds = clip.audio.shape[-1] / clip.sample_rate
    print(f"{path}: {len(clip.video)} frames at {clip.fps:g} a second, {seconds:.2f} s of sound")
    return clip


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    pipeline = phonofilm.load("pocket")
    prompt = Prompt(scene=SCENE, speech=(("", "set white with p two soon"),))
    talk = write(pipeline, Request(prompt=prompt, seed=1), out / "talk.mp4")
    words = Prompt(speech=(("", "bin red at g four please"),))
    write(pipeline, Request(prompt=words, image=talk.video[0], seed=2), out / "portrait.mp4")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["runs/clips"]))
