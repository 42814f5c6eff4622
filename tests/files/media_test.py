"""Clips survive the way into an mp4 and back, on time, whole or not at all."""

import math
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from phonofilm.errors import UserError
from phonofilm.files.media import (
    read_clip,
    read_image,
    read_manifest,
    read_wave,
    replacing,
    resample,
    write_clip,
    write_wave,
)
from phonofilm.types import Clip

pytestmark = pytest.mark.quick

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
FRAMES = 49


def tone(seconds, rate, hertz=440.0):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)[None]


def grey(frames=FRAMES, size=64):
    return torch.full((frames, 3, size, size), 90, dtype=torch.uint8)


def clap_and_flash(frame, fps, rate=16000):
    """White picture and a 2 ms click, both in the middle of one pixel frame."""
    seconds = (frame + 0.5) / fps
    video = torch.zeros(FRAMES, 3, 64, 64, dtype=torch.uint8)
    video[frame] = 255
    audio = torch.zeros(1, round(FRAMES / fps * rate))
    start = round((seconds - 0.001) * rate)
    audio[:, start : start + rate // 500] = 0.9
    return Clip(video=video, audio=audio, fps=fps, sample_rate=rate), seconds


def loudest(audio, rate):
    """Seconds of the middle of the loudest 2 ms."""
    width = rate // 500
    power = torch.nn.functional.avg_pool1d(audio.pow(2)[None], width, 1)[0, 0]
    return (power.argmax().item() + width / 2) / rate


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("frame", [0, FRAMES // 2, FRAMES - 1])
@pytest.mark.parametrize("fps", [24.0, 25.0])
def test_clap_and_flash_stay_together(tmp_path, fps, frame, rate):
    clip, seconds = clap_and_flash(frame, fps, rate)
    write_clip(tmp_path / "x.mp4", clip)
    back = read_clip(tmp_path / "x.mp4")
    assert back.video.float().mean((1, 2, 3)).argmax().item() == frame
    assert abs(loudest(back.audio, rate) - seconds) < 0.002
    assert back.fps == fps
    assert abs(back.audio.shape[1] / rate - FRAMES / fps) < 1e-3


@pytest.mark.parametrize("frame", [0, FRAMES // 2, FRAMES - 1])
@pytest.mark.parametrize("fps", [24.0, 25.0])
def test_clap_and_flash_by_time_stamps_alone(tmp_path, fps, frame):
    """What a player does that knows presentation times but not our reader: within 1 pixel frame and 10 ms."""
    clip, seconds = clap_and_flash(frame, fps)
    write_clip(tmp_path / "x.mp4", clip)
    with av.open(str(tmp_path / "x.mp4")) as container:
        frames = [(f.time, f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)]
    with av.open(str(tmp_path / "x.mp4")) as container:
        sound = [(f.time, f.to_ndarray()) for f in container.decode(audio=0)]
    seen = max(frames, key=lambda pair: pair[1])[0] + 0.5 / fps
    start, loud = max(sound, key=lambda pair: np.abs(pair[1]).max())
    heard = start + loudest(torch.from_numpy(loud), 16000)
    assert abs(seen - seconds) < 1 / fps
    assert abs(heard - seconds) < 0.010
    assert frames[0][0] == 0
    assert len(frames) == FRAMES


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg command on this machine")
def test_the_ffmpeg_command_agrees(tmp_path):
    clip, seconds = clap_and_flash(FRAMES // 2, 24.0)
    write_clip(tmp_path / "x.mp4", clip)
    ffmpeg = ["ffmpeg", "-v", "error", "-i", tmp_path / "x.mp4"]
    raw = subprocess.run([*ffmpeg, "-f", "f32le", "-"], capture_output=True, check=True).stdout
    wave = torch.frombuffer(bytearray(raw), dtype=torch.float32)[None]
    assert abs(loudest(wave, 16000) - seconds) < 0.010
    raw = subprocess.run([*ffmpeg, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True).stdout
    frames = torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(-1, 64 * 64)
    assert len(frames) == FRAMES
    assert frames.float().mean(1).argmax().item() == FRAMES // 2


def test_sound_and_picture_are_equally_long_in_the_file(tmp_path):
    for fps, frames in ((24.0, 49), (25.0, 5), (23.976, 30), (24.0, 1)):
        audio = tone(frames / fps, 16000)
        write_clip(tmp_path / "x.mp4", Clip(video=grey(frames), audio=audio, fps=fps, sample_rate=16000))
        with av.open(str(tmp_path / "x.mp4")) as container:
            lengths = [float(s.duration * s.time_base) for s in container.streams]
        assert abs(lengths[0] - lengths[1]) < 0.001
        assert abs(lengths[0] - frames / fps) < 0.001


def test_codecs_that_browsers_play_and_the_index_first(tmp_path):
    write_clip(tmp_path / "x.mp4", Clip(video=grey(), audio=tone(2, 16000), fps=24.0, sample_rate=16000))
    with av.open(str(tmp_path / "x.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, picture.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac"
    content = (tmp_path / "x.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_colours_come_back(tmp_path):
    video = torch.zeros(9, 3, 64, 64, dtype=torch.uint8)
    colours = [(250, 20, 20), (20, 200, 40), (30, 60, 240), (240, 210, 40)]
    for k, colour in enumerate(colours):
        video[:, :, :, 16 * k : 16 * (k + 1)] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    write_clip(tmp_path / "x.mp4", Clip(video=video, audio=torch.zeros(1, 0), fps=24.0, sample_rate=16000))
    back = read_clip(tmp_path / "x.mp4")
    for k, colour in enumerate(colours):
        seen = back.video[4, :, 32, 16 * k + 8].tolist()
        assert np.abs(np.subtract(seen, colour)).max() <= 6
    assert back.audio.shape == (1, 0)


def test_same_clip_same_file_and_other_rates(tmp_path, generator):
    video = torch.randint(0, 256, (13, 3, 32, 32), generator=generator, dtype=torch.uint8)
    clip = Clip(video=video, audio=tone(13 / 24, 16000).repeat(2, 1), fps=24.0, sample_rate=16000)
    write_clip(tmp_path / "a.mp4", clip)
    write_clip(tmp_path / "b.mp4", clip)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    other = read_clip(tmp_path / "a.mp4", fps=12.0, sample_rate=8000)
    native = read_clip(tmp_path / "a.mp4")
    assert other.video.shape[0] == round(13 / 24 * 12)
    assert torch.equal(other.video[1], native.video[3])  # on show at 1.5 / 12 s
    assert other.audio.shape == (2, round(native.audio.shape[1] / 2))


def test_manifest_round_trip(tmp_path):
    manifest = {"prompt": 'a "woman" \n ünï 日本', "seed": 3, "model": {"hash": "ab" * 2000}, "warnings": []}
    clip = Clip(video=grey(5), audio=torch.zeros(1, 0), fps=24.0, sample_rate=16000)
    write_clip(tmp_path / "x.mp4", clip, manifest=manifest)
    assert read_manifest(tmp_path / "x.mp4") == manifest
    write_clip(tmp_path / "x.mp4", clip)
    with pytest.raises(UserError, match="no manifest"):
        read_manifest(tmp_path / "x.mp4")


BAD = {
    "NaN": {"audio": torch.full((1, 100), math.nan)},
    "even sizes": {"video": torch.zeros(5, 3, 33, 32, dtype=torch.uint8)},
    "no picture": {"video": torch.zeros(0, 3, 32, 32, dtype=torch.uint8)},
    "channels": {"audio": torch.zeros(3, 100)},
    "AAC has no": {"sample_rate": 15999},
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_written_leaves_nothing(tmp_path, message):
    good = {"video": grey(5), "audio": tone(5 / 24, 16000), "fps": 24.0, "sample_rate": 16000}
    with pytest.raises(UserError, match=message):
        write_clip(tmp_path / "x.mp4", Clip(**(good | BAD[message])))
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path):
    (tmp_path / "x.txt").write_text("old")

    def fail_half_way():
        with replacing(tmp_path / "x.txt") as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "old"


def test_a_manifest_that_is_not_json_leaves_nothing(tmp_path):
    clip = Clip(video=grey(5), audio=torch.zeros(1, 0), fps=24.0, sample_rate=16000)
    with pytest.raises(TypeError):
        write_clip(tmp_path / "x.mp4", clip, manifest={"seed": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places_are_named(tmp_path):
    clip = Clip(video=grey(5), audio=torch.zeros(1, 0), fps=24.0, sample_rate=16000)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_clip(tmp_path / "file" / "x.mp4", clip)
    with pytest.raises(UserError, match="is a folder"):
        write_clip(tmp_path, clip)


def test_not_a_video(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"not a video at all" * 100)
    with pytest.raises(UserError, match="cannot be decoded"):
        read_clip(tmp_path / "x.mp4")
    with pytest.raises(UserError, match="no such file"):
        read_clip(tmp_path / "y.mp4")
    write_wave(tmp_path / "z.wav", tone(0.1, 16000), 16000)
    with pytest.raises(UserError, match="no picture"):
        read_clip(tmp_path / "z.wav")


def test_wave_round_trip(tmp_path):
    wave = tone(0.3, 16000).repeat(2, 1)
    write_wave(tmp_path / "x.wav", wave, 16000)
    back, rate = read_wave(tmp_path / "x.wav")
    assert rate == 16000
    torch.testing.assert_close(back, wave, atol=1e-4, rtol=0)
    half, rate = read_wave(tmp_path / "x.wav", sample_rate=8000)
    assert (half.shape[1], rate) == (wave.shape[1] // 2, 8000)


@pytest.mark.parametrize("samples", [1599, 1600])
def test_a_wav_carries_its_manifest(tmp_path, samples):
    manifest = {"prompt": {"scene": "größe"}, "seed": 7}
    wave = tone(0.1, 16000)[:, :samples]
    write_wave(tmp_path / "plain.wav", wave, 16000)
    write_wave(tmp_path / "told.wav", wave, 16000, manifest=manifest)
    assert read_manifest(tmp_path / "told.wav") == manifest
    assert torch.equal(read_wave(tmp_path / "told.wav")[0], read_wave(tmp_path / "plain.wav")[0])
    with pytest.raises(UserError, match="carries no manifest"):
        read_manifest(tmp_path / "plain.wav")
    with pytest.raises(UserError, match="NaN"):
        write_wave(tmp_path / "nan.wav", wave * float("nan"), 16000)


def test_images(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = (255, 0, 0)
    upright = Image.fromarray(pixels)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # shown after turning by 90 degrees clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    torch.testing.assert_close(read_image(tmp_path / "turned.png"), torch.from_numpy(pixels).permute(2, 0, 1))
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()
    Image.new("L", (2, 2), 7).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (3, 2, 2)


def test_bad_images(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    good = tmp_path / "good.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(good)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:2000])
    for name, message in (
        ("notes.txt", "not a picture"),
        ("cut.png", "cannot be read"),
        ("none.png", "no such file"),
        (".", "cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            read_image(tmp_path / name)


@pytest.mark.parametrize(("old", "new"), [(44100, 16000), (16000, 44100), (48000, 16000), (16000, 8000)])
def test_resampling_keeps_tones_in_place(old, new):
    out, want = resample(tone(0.5, old), old, new), tone(0.5, new)
    assert out.shape == want.shape
    inside = slice(new // 50, -new // 50)
    torch.testing.assert_close(out[:, inside], want[:, inside], atol=2e-3, rtol=0)


def test_resampling_does_not_alias():
    assert resample(tone(0.5, 44100, 12000.0), 44100, 16000)[:, 500:-500].abs().max() < 1e-3
    with pytest.raises(ValueError, match="positive"):
        resample(tone(0.1, 16000), 0, 16000)


@pytest.mark.skipif(not CLIPS.exists(), reason="shared/clips is not beside this checkout")
@pytest.mark.parametrize("name", ["kitchen", "stage", "street", "two_men", "two_women"])
def test_real_clips(name):
    clip = read_clip(CLIPS / f"{name}.mp4", fps=4.0, sample_rate=16000)
    assert clip.video.shape[0] == pytest.approx(5.1 * 4, abs=1)
    assert abs(clip.audio.shape[1] / 16000 - 5.1) < 0.2
    assert clip.audio.abs().max() > 0.01
