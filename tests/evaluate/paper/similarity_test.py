"""Speaker similarity against Seed-TTS-eval's code on random weights (tests/golden/similarity_official.md)."""

import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from wavlm_small import SMALL, distance, noise

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry, find_entries
from phonofilm.evaluate.engine import Job
from phonofilm.evaluate.folder import Sources, evaluate_folder
from phonofilm.evaluate.paper import similarity
from phonofilm.evaluate.paper.wavlm import LARGE, at_16_khz, layers
from phonofilm.evaluate.probes.probe import Examined, Unmeasured
from phonofilm.files.media import read_clip, read_wave, write_clip, write_wave
from phonofilm.types import Clip

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = json.loads((GOLDEN / "similarity_official_names.json").read_text())


def value_of(name, shape):
    """A weight from its name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    if name.endswith(("running_var", "weight_g")):
        return torch.from_numpy(rng.uniform(0.5, 1.5, shape)).float()
    if "relative_attention_bias" in name or "grep" in name or name == "feature_weight":
        return torch.from_numpy(rng.normal(0, 1, shape)).float()
    if len(shape) > 1:
        return torch.from_numpy(rng.normal(0, (1.5 / np.prod(shape[1:])) ** 0.5, shape)).float()
    return torch.from_numpy(rng.normal(1.0 if name.endswith("weight") else 0.0, 0.2, shape)).float()


def waves():
    return {"said": (noise(31001, 1), 24000), "asked": (noise(44444, 2, 2), 44100), "same": (noise(20000, 3), 16000)}


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ENCODER", LARGE | SMALL), ("CHANNELS", 16), ("NUMBERS", 8)):
            patch.setattr(similarity, name, value)
        yield


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "similarity_official.safetensors")


@pytest.fixture(scope="module")
def state():
    return {name: value_of(name, tuple(shape)) for name, shape in NAMES["small"].items()}


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    """As the authors store it, with what training alone needed."""
    path = tmp_path_factory.mktemp("speaker") / "wavlm_large_finetune.pth"
    loss = {"loss_calculator.projection.weight": torch.zeros(3, 8)}
    torch.save({"model": state | loss, "best_valid_eer": 0.5}, path)
    return path


@pytest.fixture(scope="module")
def net(checkpoint):
    return similarity.load_speaker(checkpoint)


def test_layers_of_the_large_network_are_those_of_the_reference(golden, net):
    wave = waves()["same"][0][0]
    found = layers(net.wavlm, torch.nn.functional.layer_norm(wave, wave.shape))
    assert found.shape == (3, 62, 24)
    for ours, theirs in zip(found[:, ::2], golden["states"], strict=True):
        assert distance(ours, theirs) < 1e-5


def test_vectors_and_cosines_are_those_of_the_reference(golden, net):
    heard = {name: at_16_khz(wave[0], rate) for name, (wave, rate) in waves().items()}
    for name, wave in heard.items():
        assert distance(net(wave), golden[f"vector.{name}"]) < 1e-5
    for one, two in (("said", "asked"), ("same", "asked"), ("said", "same")):
        found = similarity.similarity(net, heard[one], heard[two])
        assert found == pytest.approx(float(golden[f"similarity.{one}.{two}"]), abs=1e-6)


def test_every_name_of_the_release_has_a_place():
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        for name, value in (("ENCODER", LARGE), ("CHANNELS", 512), ("NUMBERS", 256)):
            patch.setattr(similarity, name, value)
        own = {name: list(tensor.shape) for name, tensor in similarity.Speaker().state_dict().items()}
    assert len(own) == 710  # what is counted in the authors' file beside the loss
    found = {re.sub(r"encoder\.layers\.\d+", "encoder.layers.*", name): shape for name, shape in own.items()}
    wanted = {similarity._our_name(name): shape for name, shape in NAMES["released"].items()}
    first = "wavlm.encoder.layers.*.attention.rel_attn_embed.weight"
    wanted[first] = wanted.pop(first.replace("*", "0"))
    assert found == wanted


def test_other_files_are_refused_by_what_is_wrong(state, tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"model": state | {"head.weight": torch.zeros(1)}}, tmp_path / "more.pth")
    state = {name: tensor for name, tensor in state.items() if name != "layer2.Res2Conv1dReluBn.bns.3.bias"}
    torch.save({"model": state}, tmp_path / "lacking.pth")
    for name, message in (
        ("gone", "no such file"),
        ("text", "not a speaker checkpoint"),
        ("bare", "not a speaker checkpoint"),
        ("more", "1 surplus weights, the first is head.weight"),
        ("lacking", r"1 missing weights, the first is layer2.scales.groups.3.bn.bias"),
    ):
        with pytest.raises(UserError, match=message):
            similarity.load_speaker(tmp_path / f"{name}.pth")


def clip_of(wave, rate, seconds=1):
    return Clip(video=torch.zeros(4 * seconds, 3, 32, 32, dtype=torch.uint8), audio=wave, fps=4.0, sample_rate=rate)


def test_what_cannot_be_heard_whole_has_no_figure(checkpoint, tmp_path):
    write_wave(tmp_path / "asked.wav", noise(16000, 1), 16000)
    entry = Entry(name="a", path=checkpoint, voices=(tmp_path / "asked.wav",), weights={"speaker": checkpoint})
    for clip, told, message in (
        (clip_of(torch.zeros(1, 0), 16000), entry, "a voice needs 0.045 s"),
        (clip_of(noise(16000, 2), 16000, 20), entry, "only its first 20 s"),
        (clip_of(noise(16000, 2), 16000), replace(entry, voices=(tmp_path / "gone.wav",)), "gone.wav"),
    ):
        with pytest.raises(Unmeasured, match=message):
            similarity.SIM.read(told, Examined.of(clip))


def test_recordings_of_voices_come_with_the_prompts(tmp_path):
    (tmp_path / "a.mp4").touch()
    voice = tmp_path / "asked.wav"
    write_wave(voice, noise(2000, 7), 16000)
    rows = [{"name": "a", "voice": f"Anna={voice}"}, {"name": "b", "voice": [str(voice)] * 2}, {"name": "c"}]
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    entries = find_entries(tmp_path, prompts=tmp_path / "p.jsonl")
    assert [entry.voices for entry in entries] == [(voice,), (voice, voice), ()]
    assert [similarity.SIM.wants(entry) for entry in entries] == [True, False, False]
    job = Job(entry=entries[0], probes=("similarity",))
    before = job.key()
    write_wave(voice, noise(2000, 8), 16000)
    assert job.key() != before  # another recording is another question


def test_a_folder_is_scored_against_the_voices_of_its_prompts(checkpoint, net, tmp_path):
    write_clip(tmp_path / "clips" / "a.mp4", clip_of(noise(16000, 4), 16000))
    write_wave(tmp_path / "asked.wav", noise(20000, 7), 16000)
    (tmp_path / "p.jsonl").write_text(json.dumps({"name": "a", "voice": str(tmp_path / "asked.wav")}))
    sources = Sources(clips=tmp_path / "clips", prompts=tmp_path / "p.jsonl", weights={"speaker": checkpoint})
    report = evaluate_folder(sources, tmp_path / "report", tiers=["paper"], num_controls=0, workers=1)
    (figure,) = report.figures
    assert (figure.metric, figure.used, figure.total) == ("paper.sim@wavlm_large_finetune", 1, 1)
    said, asked = read_clip(tmp_path / "clips" / "a.mp4").audio[0], read_wave(tmp_path / "asked.wav")[0][0]
    assert figure.value == pytest.approx(similarity.similarity(net, said, asked), abs=1e-6)
