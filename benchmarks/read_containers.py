"""The exact figures of the same puppets in six containers: ``python benchmarks/read_containers.py --clips 40``.

mkv, mov and ts are stream copies of the mp4, avi copies the picture and holds PCM, webm is VP9 and Opus.
"""

import argparse
from contextlib import redirect_stdout
from fractions import Fraction
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import torch
from av.bitstream import BitStreamFilterContext
from av.video.frame import VideoFrame

from phonofilm.evaluate.folder import Sources, evaluate_folder
from phonofilm.files.media import read_clip, write_clip
from phonofilm.puppets.corpus import Corpus, make

CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "mov": "mov", "ts": "mpegts", "avi": "avi", "webm": "webm"}


def copy(source, target, format, *, sound=True):
    """The packets of a file in another container; without ``sound`` as PCM instead."""
    with av.open(str(source)) as given, av.open(str(target), "w", format=format) as out:
        picture, heard = given.streams.video[0], given.streams.audio[0]
        streams = {picture.index: out.add_stream_from_template(picture)}
        audio = out.add_stream_from_template(heard) if sound else out.add_stream("pcm_s16le", rate=heard.rate)
        starts = BitStreamFilterContext("h264_mp4toannexb", picture) if format == "avi" else None
        for packet in given.demux(picture, heard):
            if packet.dts is None:
                continue
            if packet.stream_index == picture.index or sound:
                stream = streams.get(packet.stream_index, audio)
                for one in [packet] if starts is None else starts.filter(packet):
                    one.stream = stream
                    out.mux(one)
            else:
                for frame in packet.decode():
                    out.mux(audio.encode(frame))
        if not sound:
            out.mux(audio.encode(None))


def transcode(source, target):
    """VP9 and Opus in webm."""
    clip = read_clip(source, sample_rate=48000)
    rate = Fraction(clip.fps).limit_denominator(1001)
    with av.open(str(target), "w", format="webm") as out:
        picture = out.add_stream("libvpx-vp9", rate=rate, options={"crf": "6", "cpu-used": "5"})
        picture.height, picture.width = clip.video.shape[-2:]
        picture.pix_fmt, picture.bit_rate = "yuv420p", 0
        sound = out.add_stream("libopus", rate=48000, layout="mono")
        sound.bit_rate = 128_000
        packets = []
        for index, pixels in enumerate(clip.video.permute(0, 2, 3, 1).contiguous().numpy()):
            frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, 1 / rate
            packets += picture.encode(frame)
        packets += picture.encode(None)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000, frame_size=960)
        whole = av.AudioFrame.from_ndarray(clip.audio.contiguous().numpy(), format="fltp", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = 48000, 0, Fraction(1, 48000)
        for piece in [*resampler.resample(whole), *resampler.resample(None)]:
            packets += sound.encode(piece)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            out.mux(packet)


def figures(folder, truth):
    """The exact figures of a folder, by name, and the clips that could not be read."""
    sources = Sources(clips=folder, truth=truth)
    with TemporaryDirectory() as output, redirect_stdout(StringIO()):
        report = evaluate_folder(sources, Path(output), tiers=("exact",), num_controls=0, workers=1)
    for outcome in report.outcomes:
        if outcome.problem:
            print(f"{outcome.name}: {outcome.problem}")
    whole = [figure for figure in report.figures if figure.condition == "clips" and not figure.voice]
    return {figure.metric: (figure.value, figure.used) for figure in whole}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clips", type=int, default=40)
    options.add_argument("--containers", default=",".join(CONTAINERS))
    options.add_argument("--sample-rate", type=int, default=44100)
    args = options.parse_args()
    torch.set_num_threads(1)
    wanted, found = args.containers.split(","), {}
    with TemporaryDirectory() as place:
        folder = Path(place)
        make(folder / "mp4", Corpus(clips=args.clips, seed=7, split="val"))
        for path in (folder / "mp4" / "clips").glob("*.mp4"):  # at 16 kHz AAC's frames last a whole 64 ms
            write_clip(path, read_clip(path, sample_rate=args.sample_rate))
        for name in wanted:
            clips = folder / "mp4" / "clips"
            if name != "mp4":
                (folder / name).mkdir()
                for source in sorted(clips.glob("*.mp4")):
                    target = folder / name / f"{source.stem}.{name}"
                    if name == "webm":
                        transcode(source, target)
                    else:
                        copy(source, target, CONTAINERS[name], sound=name != "avi")
                clips = folder / name
            found[name] = figures(clips, folder / "mp4" / "truth.parquet")
            print(f"measured {name}", flush=True)
    print(f"{args.clips} puppets | " + " | ".join(wanted))
    for metric in found[wanted[0]]:
        cells = [found[name].get(metric, (None, 0)) for name in wanted]
        print(f"{metric} | " + " | ".join("-" if v is None else f"{v:.4f} ({n})" for v, n in cells))


if __name__ == "__main__":
    main()
