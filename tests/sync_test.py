"""The clap and the flash: what is seen and heard at the same instant stays together through the whole path.

Latents, tokens, positions, codecs, trimming and the written mp4, at 24 and 25 fps, for the first frame, the middle and
the last. Bounds: one pixel frame for the picture, 10 ms for the sound.
"""

import pytest
import torch

from phonofilm.codecs.blocks import FRAMES, SIZE, BlockCodec, to_blocks
from phonofilm.codecs.griffin_lim import GriffinLimVocoder
from phonofilm.codecs.mel import LogMel
from phonofilm.diffusion.tokens import Geometry, layout_of, patchify, positions, unpatchify
from phonofilm.files.media import read_clip, write_clip
from phonofilm.types import Clip

RATE, HOP = 16000, 512


class Sound:
    """Mels and back, laid out as the audio codec lays out its latents: two columns per latent."""

    sample_rate, hop = RATE, HOP

    def __init__(self):
        self.mel, self.vocoder = LogMel(), GriffinLimVocoder().eval()

    def encode(self, wave):
        missing = -wave.shape[-1] % HOP
        return self.mel(torch.nn.functional.pad(wave[:, 0], (0, missing))).unflatten(-1, (-1, 2)).mT.flatten(1, 2)

    def decode(self, latents):
        with torch.no_grad():
            return self.vocoder(latents.unflatten(1, (2, -1)).flatten(0, 0).permute(0, 2, 3, 1).flatten(2)).sample


@pytest.fixture(scope="module")
def pictures():
    """A block codec that knows flashes: single bright pixel frames."""
    codec = BlockCodec(channels=8, width=8, depth=1, fine=4, fine_depth=1).requires_grad_(False)
    flashes = torch.zeros(40, FRAMES, 3, SIZE, SIZE)
    flashes += torch.rand(40, FRAMES, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codec.fit(flashes.flatten(1), torch.ones(40), whiten=0.5)
    return codec


def performed(frame, fps, num_frames):
    """A white pixel frame, and a click from the moment it is shown."""
    video = torch.zeros(num_frames, 3, 32, 32, dtype=torch.uint8)
    video[frame] = 255
    audio = torch.zeros(1, round(num_frames / fps * RATE))
    at = round(frame / fps * RATE)
    click = torch.randn(round(0.02 * RATE), generator=torch.Generator().manual_seed(1)) * 0.3
    audio[0, at : at + len(click)] = click[: audio.shape[1] - at]
    return Clip(video=video, audio=audio, fps=fps, sample_rate=RATE), at / RATE


def heard(clip):
    """Second of the sound's centre of energy: phases found by search smear an onset, but evenly to both sides."""
    power = clip.audio.mean(0).double().square()
    return float((power * torch.arange(len(power))).sum() / power.sum()) / clip.sample_rate


@pytest.mark.parametrize("fps", [24.0, 25.0])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_seen_and_heard_at_the_same_instant(pictures, tmp_path, fps, where):
    num_frames = 29
    frame = {"first": 0, "middle": 14, "last": 28}[where]
    clip, instant = performed(frame, fps, num_frames)
    sound = Sound()
    geometry = Geometry(num_frames=num_frames, height=32, width=32, fps=fps)
    layout = layout_of(geometry, pictures, sound, (2, 2))

    latents = pictures.encode(clip.video.transpose(0, 1)[None].float() / 127.5 - 1)
    tokens = patchify(latents, (2, 2))
    waves = sound.encode(clip.audio[None])

    # Positions: the token that holds the flash and the one that holds the click overlap in time.
    seconds = positions(layout.video)[:, 0]
    bright = int((latents - latents.median()).abs().mean(dim=(1, 3, 4))[0].argmax())
    token = seconds.view(layout.video.frames, -1)[bright, 0]
    first = layout.video.first
    half = first / 2 if bright == 0 else layout.video.step / 2
    assert abs(float(token) - (instant + 0.5 / fps)) <= half
    loud = int(waves.mean(dim=1)[0].argmax())
    click = float(positions(layout.audio)[loud, 0])
    assert abs(click - instant) <= 0.032 + 0.010

    # Codecs, trimming and the written file.
    video = pictures.decode(unpatchify(tokens, layout.video, (2, 2)))[0].transpose(0, 1)
    audio = sound.decode(waves)[0][:, : clip.audio.shape[1]]
    made = Clip(video=((video + 1) * 127.5).round().byte(), audio=audio, fps=fps, sample_rate=RATE)
    write_clip(tmp_path / "clap.mp4", made)
    read = read_clip(tmp_path / "clap.mp4")
    seen = int(read.video.float().mean(dim=(1, 2, 3)).argmax())
    assert abs(seen - frame) <= 1
    assert abs(heard(read) - heard(clip)) <= 0.010
    assert abs(len(read.video) / read.fps - read.audio.shape[1] / read.sample_rate) <= 1 / fps


def test_the_blocks_are_those_of_the_causal_grid(pictures):
    """The flash in pixel frame 4 belongs to latent 1 (frames 1 to 4), in frame 5 to latent 2."""
    for frame, latent in ((0, 0), (1, 1), (4, 1), (5, 2)):
        video = torch.zeros(1, 3, 9, 32, 32)
        video[:, :, frame] = 1.0
        away = pictures.encode(video) - pictures.encode(torch.zeros_like(video))
        assert away.abs().sum(dim=(0, 1, 3, 4)).argmax() == latent
    assert to_blocks(video[:, :, 1:]).shape == (1, 2, 2, 2, FRAMES * 3 * SIZE * SIZE)
