"""Odd files as the world writes them (tests/cases, made for this) are read rightly, or refused in one line."""

import json
import math
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from containers import signal_to_noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from phonofilm.diffusion.tokens import Geometry
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import find_entries
from phonofilm.evaluate.engine import Job, measure
from phonofilm.files.frames import Display
from phonofilm.files.media import Limits, read_clip, read_image, read_manifest, read_wave, write_clip, write_wave
from phonofilm.files.resample import by_samples, resample
from phonofilm.files.sound import Piece, places
from phonofilm.files.text import numbered_lines, read_json_lines
from phonofilm.generation.inputs import at_rate, check_size, scaled
from phonofilm.generation.prompts import straight
from phonofilm.generation.request import count
from phonofilm.types import Clip, Prompt, Request

pytestmark = pytest.mark.quick

CASES = Path(__file__).parents[1] / "cases"
MILLISECOND = Fraction(1, 1000)


def stamped(path, times, greys, *, format="matroska", codec="libx264", sound=()):
    """Pixel frames of one grey each at given milliseconds, and 16 kHz sound at given samples."""
    with av.open(str(path), "w", format=format) as out:
        video = out.add_stream(codec, rate=1000)
        video.width = video.height = 32
        video.pix_fmt, video.codec_context.time_base = "yuv420p", MILLISECOND
        audio = out.add_stream("flac", rate=16000, layout="mono") if sound else None
        for time, grey in zip(times, greys):
            frame = VideoFrame.from_ndarray(np.full((32, 32, 3), grey, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = time, MILLISECOND
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for start, samples in sound:
            frame = AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            out.mux(audio.encode(frame))
        if audio is not None:
            out.mux(audio.encode(None))


def greys(video):
    return video.float().mean((1, 2, 3)).round().int().tolist()


@pytest.mark.parametrize(
    ("name", "least"),
    [("sine_aac.mp4", 55), ("sine_aac.mkv", 55), ("sine_aac.flv", 55), ("sine_vorbis.webm", 45)],
)
def test_samples_run_on_whatever_the_clock_of_the_packets(name, least):
    wave, rate = read_wave(CASES / name)
    assert abs(wave.shape[1] / rate - 3) < 0.05
    assert signal_to_noise(wave[0], rate, 0.3, 2.7) > least


def test_a_copied_stream_is_the_same_clip():
    one, two = read_clip(CASES / "puppet.mp4"), read_clip(CASES / "puppet.mkv")
    assert (one.fps, len(one.video)) == (two.fps, len(two.video)) == (24.0, 49)
    assert torch.equal(one.video, two.video)
    late = two.audio.shape[1] - one.audio.shape[1]  # the mkv's clock ticks in milliseconds
    assert 0 <= late <= 48
    torch.testing.assert_close(one.audio, two.audio[:, late:], atol=1e-3, rtol=0)


def test_frames_without_times_come_in_order():
    found = greys(read_clip(CASES / "r_h264.avi").video)
    assert len(found) == 50
    assert found == sorted(set(found))


@pytest.mark.parametrize(("name", "shape"), [("rot90.mp4", (320, 160)), ("sar2.mp4", (160, 320))])
def test_pictures_look_as_players_show_them(name, shape):
    clip = read_clip(CASES / name)
    assert clip.video.shape[-2:] == shape
    small = read_clip(CASES / name, limits=Limits(pixels=80 * 40))
    assert small.video.shape[-2:] == (shape[0] // 4, shape[1] // 4)


def test_what_was_called_damaged_is_read():
    wave, rate = read_wave(CASES / "w_adpcm_ima_wav.wav")
    assert (wave.shape[1], rate) == (48984, 48000)
    clip = read_clip(CASES / "r.wmv")
    assert (len(clip.video), clip.fps) == (50, 25.0)
    clip = read_clip(CASES / "r_change.ts")  # two recordings behind each other, the second with other channels
    assert abs(clip.seconds - 4) < 0.05
    assert abs(clip.audio.shape[1] / clip.sample_rate - 4) < 0.05
    assert clip.audio[:, clip.audio.shape[1] // 2 + 9600 :].abs().amax() > 0.01


@pytest.mark.parametrize(("format", "codec"), [("matroska", "libx264"), ("webm", "libvpx"), ("mp4", "libx264")])
def test_a_short_flash_between_pauses_is_seen(format, codec, tmp_path):
    times = [start + 40 * k for start in range(0, 4600, 920) for k in range(8)]
    flash = 19
    stamped(tmp_path / "x", times, [250 if k == flash else 30 for k in range(40)], format=format, codec=codec)
    clip = read_clip(tmp_path / "x")
    assert clip.fps == 25
    assert max(greys(clip.video)) > 200
    timed = read_clip(tmp_path / "x", even=False)
    assert len(timed.video) == 40
    assert timed.times[:-1].tolist() == pytest.approx([t / 1000 for t in times], abs=2e-3)
    for fps in (24.0, 25.0, 30.0):  # what is on show at the middles, straight from the time stamps
        middles = [(k + 0.5) / fps for k in range(count(timed, fps))]
        wanted = [greys(timed.video)[max(k for k, t in enumerate(times) if t / 1000 <= m)] for m in middles]
        assert greys(at_rate(timed, fps)) == wanted


def test_jittered_stamps_of_a_browser_are_no_thousand_frames(tmp_path):
    rng = np.random.default_rng(0)
    times = np.cumsum(np.r_[0, rng.normal(33, 4, 60).astype(int)]).tolist()
    stamped(tmp_path / "x", times, range(20, 81), format="webm", codec="libvpx")
    clip = read_clip(tmp_path / "x")
    assert clip.fps == 30
    assert len(clip.video) == round((times[-1] + 33) / 1000 * 30)
    assert len(read_clip(tmp_path / "x", even=False).video) == 61


def test_gaps_are_silent_and_huge_ones_are_refused(tmp_path):
    sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    times = [40 * k for k in range(75)]
    stamped(tmp_path / "a", times, [90] * 75, sound=[(0, sine), (24000, sine)])
    audio = read_clip(tmp_path / "a").audio[0]
    assert abs(len(audio) - 40000) < 20
    assert audio[16200:23800].abs().max() == 0
    assert audio[24200:39000].abs().max() > 0.4
    stamped(tmp_path / "b", times, [90] * 75, sound=[(0, sine), (16000 * 40_000, sine)])
    with pytest.raises(UserError, match=r"40,00\d s of sound, its gaps included, would take"):
        read_clip(tmp_path / "b")
    assert read_clip(tmp_path / "b", limits=Limits(seconds=2)).audio.shape[1] < 33000
    stamped(tmp_path / "c", [*times, 36_000_000], [90] * 76)
    with pytest.raises(UserError, match=r"pixel frames of 32 x 32 would take"):
        read_clip(tmp_path / "c", limits=Limits(memory=2**30))
    assert len(read_clip(tmp_path / "c", even=False).video) == 76


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(64, 2048), min_size=1, max_size=30),
    tick=st.sampled_from([1 / 90000, 1 / 1000, 1 / 100]),
    data=st.data(),
)
def test_rounded_and_late_stamps_move_no_sample_and_gaps_do(sizes, tick, data):
    rate, starts = 48000, np.cumsum([0, *sizes])
    gap = data.draw(st.integers(0, len(sizes)))
    length = data.draw(st.sampled_from([0, 6 * tick, 1.0]))
    due = starts[:-1] / rate + length * (np.arange(len(sizes)) >= gap)
    stamps = np.round(due / tick) * tick
    if gap == len(sizes):
        length = 0
    pieces = [Piece(seconds, np.zeros((1, size), np.float32)) for seconds, size in zip(stamps.tolist(), sizes)]
    found = np.array(places(pieces, rate, tick))
    steps = np.diff(found) - sizes[:-1]
    assert (np.delete(steps, gap - 1) == 0).all() if 0 < gap < len(sizes) else (steps == 0).all()
    if length and 0 < gap < len(sizes):
        assert abs(steps[gap - 1] / rate - length) <= 2.1 * tick
    assert np.abs(found / rate - due).max() <= 2.1 * tick + 1 / rate


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    turns=st.integers(0, 3),
    flip=st.booleans(),
)
def test_display_matrices_turn_as_they_say(size, turns, flip):
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    frame = VideoFrame.from_ndarray(pixels, format="rgb24")
    wanted = np.rot90(pixels, -turns)  # clockwise
    wanted = wanted[:, ::-1] if flip else wanted
    right, down = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])[[turns, (turns + 1) % 4]]
    (a, b), (c, d) = ((-1 if flip else 1) * right[0], right[1]), ((-1 if flip else 1) * down[0], down[1])
    turned = bool(b or c)
    display = Display(size[1], size[0], turned, (b < 0, c < 0) if turned else (d < 0, a < 0))
    assert display.shape == wanted.shape[:2]
    np.testing.assert_array_equal(display.pixels(frame, av.video.reformatter.VideoReformatter()), wanted)


@settings(deadline=None, max_examples=40)
@given(fps=st.floats(2, 120), length=st.integers(1, 40), wanted=st.sampled_from([8.0, 24.0, 25.0, 30.0]))
def test_frames_are_those_on_show_at_the_middles(fps, length, wanted):
    video = torch.arange(length, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
    times = torch.arange(length + 1, dtype=torch.float64) / fps
    timed = Clip(video=video, audio=torch.zeros(1, 0), fps=fps, sample_rate=16000, times=times)
    found = at_rate(timed, wanted)[:, 0, 0, 0].tolist()
    assert len(found) == max(1, round(length / fps * wanted))
    middles = [(k + 0.5) / wanted for k in range(len(found))]
    assert all(times[k] <= m + 1e-9 and (m < times[k + 1] or k == length - 1) for k, m in zip(found, middles))


def test_deep_pictures_are_scaled_and_others_named(tmp_path):
    ramp = read_image(CASES / "g16.png").float()
    assert abs(ramp.mean() - 127.5) < 1
    assert (ramp.min(), ramp.max()) == (0, 255)
    deep = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    for name in ("a.tif", "a.pgm", "a.png"):
        Image.fromarray(deep).save(tmp_path / name)
        wanted = torch.from_numpy((deep / 257).round().astype(np.uint8))
        assert (read_image(tmp_path / name)[0].int() - wanted.int()).abs().max() <= 1
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "f.tif")
    Image.new("RGB", (8, 8)).save(tmp_path / "x.eps")
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.7\n")
    for name, told in (("f.tif", "floating-point"), ("x.eps", "EPS"), ("x.heic", "HEIC"), ("x.pdf", "PDF")):
        with pytest.raises(UserError, match=told):
            read_image(tmp_path / name)
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match="8000 x 8000 pixels; at most"):
        read_image(tmp_path / "huge.png")


def test_pictures_too_thin_to_be_scaled_are_refused():
    thin = read_image(CASES / "s1x500.png")
    for height, width in ((128, 128), (64, 160), (320, 512)):
        geometry = Geometry(num_frames=1, height=height, width=width, fps=24.0)
        assert scaled(thin[None], geometry).shape == (1, 3, height, width)
        with pytest.raises(UserError, match=f"image is 1 x 500: it cannot be scaled to {width} x {height}"):
            check_size(Request(prompt=Prompt(scene="a woman"), image=thin), geometry)


def test_odd_names_are_names_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = Clip(
        video=torch.full((5, 3, 32, 32), 90, dtype=torch.uint8), audio=torch.zeros(1, 0), fps=25, sample_rate=16000
    )
    for name in ("10:30.mp4", "http:x.mp4", "100%d.mp4", "ä 小 'q'.mp4", "pipe:0.mp4", "-x.mp4"):
        write_clip(name, clip, manifest={"name": name})
        assert len(read_clip(name).video) == 5
        assert read_manifest(name) == {"name": name}
        assert Path(name).is_file()


def test_what_is_no_plain_media_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.mp4")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{CASES / 'r_change.ts'}\n")
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {CASES / 'puppet.mp4'}\n")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name, told in (
        ("x.mp4", "no plain file"),
        ("list.mp4", "decoded"),
        ("concat.mp4", "decoded"),
        ("empty.mp4", "decoded"),
    ):
        for read in (read_clip, read_wave, read_manifest):
            with pytest.raises(UserError, match=told):
                read(tmp_path / name)
    with pytest.raises(UserError, match="no plain file"):
        read_image(tmp_path / "x.mp4")
    write_wave(tmp_path / "fast.wav", torch.zeros(1, 16000), 2_000_000_000)
    with pytest.raises(UserError, match=r"2000000000 samples a second|decoded"):
        read_wave(tmp_path / "fast.wav")


@pytest.mark.parametrize("rate", [44_101, 44_056, 767_999])
def test_odd_sample_rates_take_no_huge_filter(rate):
    seconds = torch.arange(rate // 4, dtype=torch.float64) / rate
    out = resample((0.5 * torch.sin(2 * math.pi * 440 * seconds)).float()[None], rate, 16000)
    wanted = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(out.shape[1], dtype=torch.float64) / 16000)
    torch.testing.assert_close(out[0, 300:-300], wanted.float()[300:-300], atol=2e-3, rtol=0)


def test_filters_by_phases_and_by_samples_agree(generator):
    wave = torch.randn(2, 5000, generator=generator)
    torch.testing.assert_close(
        by_samples(wave, 44100, 16000, 24, 0.97), resample(wave, 44100, 16000), atol=1e-5, rtol=1e-4
    )


def test_lines_end_where_json_lines_end(tmp_path):
    for name in ("bom.jsonl", "u2028.jsonl"):
        assert len(read_json_lines(CASES / name)) == 1
    row = {"say": "eins\u2028zwei\x0c\x85drei"}
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16", "utf-32")):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes((json.dumps(row, ensure_ascii=False) + "\r\n\r\n{}\n").encode(encoding))
        assert read_json_lines(path) == [(1, row), (3, {})]
    (tmp_path / "x").write_bytes(b"\xff\xff")
    with pytest.raises(UserError, match="cannot be read as text"):
        list(numbered_lines(tmp_path / "x"))
    (tmp_path / "x").write_text("{}\n[1]\n")
    with pytest.raises(UserError, match="line 2: a JSON object"):
        read_json_lines(tmp_path / "x")


def test_typography_changes_no_word():
    curly, plain = (read_json_lines(CASES / f"{name}.jsonl") for name in ("curly", "straight"))
    assert [straight(row["say"]) for _, row in curly] == [row["say"] for _, row in plain]


def test_a_folder_of_odd_files_is_found_and_none_hangs(tmp_path):
    for name in ("a.ts", "b.webm", "c.flv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d.mp4").mkdir()
    os.mkfifo(tmp_path / "e.mp4")
    entries = find_entries(tmp_path)
    assert [entry.name for entry in entries] == ["a", "b", "c", "e"]
    outcomes = [outcome for entry in entries for outcome in measure(Job(entry=entry, probes=()))]
    assert all("UserError" in outcome.problem for outcome in outcomes)
    assert all(len(Job(entry=entry, probes=()).key()) == 16 for entry in entries)


def test_words_of_a_line_are_those_between_its_quotes(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    row = {"name": "a", "prompt": "a man says „it’s late“", "voice": "小明=x.wav"}
    (tmp_path / "p.jsonl").write_text("\ufeff" + json.dumps(row, ensure_ascii=False), encoding="utf-8")
    (entry,) = find_entries(tmp_path, prompts=tmp_path / "p.jsonl")
    assert entry.lines == ("it's late",)
    assert entry.voices == (Path("x.wav"),)
