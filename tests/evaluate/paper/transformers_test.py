"""Whisper and CLAP by the user's own checkpoints, against transformers on the same random weights."""

import json
import string

import numpy as np
import pytest
import torch
import transformers_small as small
from extras import needed
from transformers import ClapFeatureExtractor, ClapModel, ClapProcessor, WhisperForConditionalGeneration

needed("jiwer", "scipy")

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.digests import digest
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.folder import Sources, choose, evaluate_folder
from phonofilm.evaluate.paper import clap, whisper
from phonofilm.evaluate.probes.probe import Unmeasured
from phonofilm.files.media import write_clip
from phonofilm.types import Clip


def sound(seconds=1.0, rate=16000):
    g = torch.Generator().manual_seed(0)
    swell = torch.linspace(0, 1, round(seconds * rate))
    return (0.2 * torch.randn(len(swell), generator=g) * swell).clamp(-1, 1)


def clip_of(wave, rate=16000):
    frames = round(len(wave) / rate * 4)
    video = torch.zeros(frames, 3, 32, 32, dtype=torch.uint8)
    return Clip(video=video, audio=wave[None].expand(2, -1), fps=4.0, sample_rate=rate)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints, and what Whisper's begins and ends with."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("whisper", "clap")}
    small.clap(found["clap"])
    return found, small.whisper(found["whisper"])


def log_mels(wave, filters):
    """The spectrogram of the Whisper paper's code: 25 ms every 10 ms over 30 s, log10, at most 8 below the loudest."""
    padded = torch.nn.functional.pad(wave, (0, 480000 - len(wave)))
    power = torch.stft(padded, 400, 160, window=torch.hann_window(400), return_complex=True)[:, :-1].abs() ** 2
    logs = (torch.from_numpy(filters).float().T @ power).clamp(min=1e-10).log10()
    return (logs.maximum(logs.max() - 8) + 4) / 4


def test_whisper_looks_at_the_spectrogram_of_its_paper(folders):
    processor, _ = whisper.load_whisper(folders[0]["whisper"])
    found = whisper.features(processor, sound().numpy(), 16000)
    wanted = log_mels(sound(), processor.feature_extractor.mel_filters)
    assert found.shape == (1, 8, 3000)
    assert torch.allclose(found[0], wanted, atol=1e-5)


def test_whisper_hears_what_its_network_decodes_greedily(folders):
    (begin, end), folder = folders[1], folders[0]["whisper"]
    processor, _ = whisper.load_whisper(folder)
    net = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    tokens = list(begin)
    with torch.no_grad():
        seen = whisper.features(processor, sound().numpy(), 16000)
        while len(tokens) < small.LONGEST and tokens[-1] != end:
            tokens.append(int(net(seen, decoder_input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    wanted = processor.tokenizer.decode(tokens, skip_special_tokens=True)
    assert len(wanted) > 1
    assert whisper.transcribe(folder, sound().numpy(), 16000) == wanted


def test_other_rates_are_resampled_as_the_script_does(folders):
    processor, _ = whisper.load_whisper(folders[0]["whisper"])
    t = np.arange(24000) / 24000
    tone = {rate: np.sin(2 * np.pi * 440 * t[: 24000 * rate // 24000] * 24000 / rate) for rate in (16000, 24000)}
    high, low = (whisper.features(processor, tone[rate].astype(np.float32), rate) for rate in (24000, 16000))
    assert torch.allclose(high[..., 5:90], low[..., 5:90], atol=1e-2)


def test_text_is_treated_as_seed_tts_eval_treats_it():
    assert whisper.plain("It's “Mr. Smith”,  isn't it?") == "it's mr smith isn't it"
    assert whisper.plain("don\u2019t") == "dont"  # the typographic apostrophe goes, as in the script
    assert whisper.plain(string.punctuation) == "'"
    assert whisper.word_error_rate("Set white, now!", "set WHITE now.") == 0
    assert whisper.word_error_rate("Set white now", "set blue") == pytest.approx(2 / 3)
    assert whisper.word_error_rate("one two", "") == 1
    with pytest.raises(ValueError, match="no words"):
        whisper.word_error_rate("...", "set")


def test_what_whisper_cannot_hear_whole_is_refused(folders):
    processor, _ = whisper.load_whisper(folders[0]["whisper"])
    with pytest.raises(ValueError, match="Whisper hears 30 s at once"):
        whisper.features(processor, np.zeros(30 * 16000 + 1, dtype=np.float32), 16000)
    for lines, clip, message in (
        (("你好",), clip_of(sound()), "Chinese"),
        (("hello",), clip_of(torch.zeros(20 * 16000)), "only its first 20 s"),
        (("hello",), clip_of(sound()[:0]), "no sound"),
    ):
        entry = Entry(name="a", path=folders[0]["whisper"], lines=lines, weights=folders[0])
        with pytest.raises(Unmeasured, match=message):
            whisper.WHISPER.read(entry, clip)


def test_clap_is_the_cosine_of_what_both_towers_say(folders):
    folder, wave = folders[0]["clap"], sound(1.5, 48000)
    net = ClapModel.from_pretrained(folder).eval()
    heard = ClapFeatureExtractor(truncation="rand_trunc")(wave.numpy(), sampling_rate=48000, return_tensors="pt")
    words = ClapProcessor.from_pretrained(folder).tokenizer("rain on a roof", return_tensors="pt")
    with torch.no_grad():
        one = net.get_audio_features(**heard).pooler_output
        two = net.get_text_features(**words).pooler_output
    wanted = float(one[0] @ two[0] / one.norm() / two.norm())
    assert clap.clap_score(folder, wave, "rain on a roof") == pytest.approx(wanted, abs=1e-5)
    assert clap.clap_score(folder, wave, "a dog") != pytest.approx(wanted, abs=1e-5)
    with pytest.raises(ValueError, match="at random"):
        clap.clap_score(folder, torch.zeros(480001), "rain")


def test_a_folder_is_scored_with_the_users_checkpoints(folders, tmp_path):
    write_clip(tmp_path / "clips" / "a.mp4", clip_of(sound()))
    (tmp_path / "p.jsonl").write_text(json.dumps({"name": "a", "say": "hello you", "sound": "rain"}))
    sources = Sources(clips=tmp_path / "clips", prompts=tmp_path / "p.jsonl", weights=folders[0])
    report = evaluate_folder(sources, tmp_path / "report", tiers=["paper"], num_controls=0, workers=1)
    assert {figure.metric for figure in report.figures} == {"paper.wer@seed_tts_en", "paper.clap@javisbench"}
    assert all(figure.used == 1 for figure in report.figures)
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["figures"]
    for name, row in zip(("whisper", "clap"), rows, strict=True):
        assert digest(folders[0][name]) in row["weights"]
    assert "--weights syncnet=PATH" in report.missing["paper.lse_c@lrs"]


def test_folders_that_are_no_checkpoint_are_refused(tmp_path):
    for load, message in ((whisper.load_whisper, "not a Whisper"), (clap.load_clap, "not a CLAP")):
        with pytest.raises(UserError, match=message):
            load(tmp_path)
    with pytest.raises(UserError, match="needs --weights whisper=PATH"):
        choose(["paper.wer@seed_tts_en"])
    with pytest.raises(UserError, match="Paraformer"):
        choose(["paper.wer@seed_tts_zh"])
