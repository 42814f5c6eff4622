"""What a vocoder leaves of a clip's sound: python benchmarks/vocoders.py FOLDER [FOLDER ...] --split val --speakers 40.

Each FOLDER holds config.json and the weights of a vocoder. It is asked for the sound of held-out clips, from their own
mels and from mels that went through the autoencoder of --model. Prints, beside the truth: PESQ, STOI and closed-grammar
WER of speakers; the mean |difference| of log10 mels and of log spectra (dB), speakers and other stages apart; and the
median of milliseconds for a clip, one clip at a time on one thread.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pesq import pesq
from pystoi import stoi
from torch import Tensor

from phonofilm.codecs.audio import VOCODERS, AudioCodec
from phonofilm.codecs.folders import load_part
from phonofilm.evaluate.probes.reconstruction import stft_distance
from phonofilm.evaluate.readers import speech
from phonofilm.puppets import grammars
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import Script, write_script

OTHERS = ("ball", "keyboard", "rain")
RATE = 16000


@dataclass
class Figures:
    """Values of one vocoder, clip by clip."""

    of: dict[str, list[float]] = field(default_factory=dict)
    wrong: int = 0
    words: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        """Keep one value."""
        self.of.setdefault(name, []).append(value)


def hear(figures: Figures, script: Script, made: Tensor, true: Tensor, codec: AudioCodec) -> None:
    """Score one clip's sound "1 N" against the true one."""
    mels = [codec.mel(wave) for wave in (made, true)]
    kind = "speech" if script.lines else "other"
    figures.add(f"mel {kind}", float((mels[0] - mels[1]).abs().mean()))
    figures.add(f"stft {kind}", stft_distance(made[0], true[0]))
    if script.lines:
        figures.add("pesq", float(pesq(RATE, true[0].numpy(), made[0].numpy(), "wb")))
        figures.add("stoi", float(stoi(true[0].numpy(), made[0].numpy(), RATE)))
        heard = speech.recognise(made, RATE, grammars.jsgf(grammars.GRAMMARS[script.grammar]))
        wrong, words = speech.word_errors(script.lines[0].words, heard)
        figures.wrong, figures.words = figures.wrong + wrong, figures.words + words


def line(name: str, figures: Figures) -> str:
    """One row of the table."""
    means = {key: sum(values) / len(values) for key, values in figures.of.items()}
    columns = [f"{key} {means[key]:.3f}" for key in sorted(means)]
    columns.append(f"wer {figures.wrong / max(figures.words, 1):.3f}")
    if figures.seconds:
        columns.append(f"{1000 * sorted(figures.seconds)[len(figures.seconds) // 2]:.0f} ms")
    return f"{name:<40} " + "  ".join(columns)


def scripts(split: str, speakers: int, others: int) -> list[Script]:
    """Held-out clips: speakers, and as many of each other stage."""
    stages = ["speaker"] * speakers + [stage for stage in OTHERS for _ in range(others)]
    return [write_script(300_000 + i, split=split, stage=stage) for i, stage in enumerate(stages)]


@torch.no_grad()
def table(
    codec: AudioCodec, vocoders: dict[str, Callable[[Tensor], Tensor]], clips: list[Script]
) -> dict[str, Figures]:
    """Every vocoder on the same clips, in turn clip by clip, so that a busy machine slows all alike."""
    rows: dict[str, Figures] = {"truth": Figures()}
    for script in clips:
        wave = perform(script).wave
        wave = wave[:, : wave.shape[-1] // codec.hop * codec.hop]
        hear(rows["truth"], script, wave, wave, codec)
        mel = codec.listen(wave[None])
        for source, given in (("own mel", mel), ("autoencoder", codec.spectrum(codec.posterior(mel)[0]))):
            for name, vocoder in vocoders.items():
                row = rows.setdefault(f"{name}, {source}", Figures())
                begun = time.perf_counter()
                made = vocoder(given)[0]
                row.seconds.append(time.perf_counter() - begun)
                hear(row, script, made, wave, codec)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default=Path(__file__).parents[1] / "src/phonofilm/models/pocket", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--speakers", type=int, default=40)
    parser.add_argument("--others", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = {str(folder): load_part(folder, VOCODERS) for folder in options.folders}
    vocoders = {name: lambda mel, part=part: part(mel).sample for name, part in parts.items()}
    clips = scripts(options.split, options.speakers, options.others)
    for name, figures in table(AudioCodec.load(options.model), vocoders, clips).items():
        print(line(name, figures), flush=True)


if __name__ == "__main__":
    main()
