"""Audiobox aesthetics against its own code on random weights (tests/golden/audiobox_official.md)."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from wavlm_small import SMALL, distance, noise

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.digests import digest
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.folder import Sources, choose, evaluate_folder
from phonofilm.evaluate.paper import audiobox
from phonofilm.evaluate.paper.wavlm import BASE, at_16_khz, layers, our_name
from phonofilm.evaluate.probes.probe import Examined, Unmeasured
from phonofilm.files.media import write_clip
from phonofilm.types import Clip

GOLDEN = Path(__file__).parents[2] / "golden"
SETTINGS = {"proj_num_layer": 3, "proj_ln": True, "proj_act_fn": "gelu", "proj_dropout": 0.0, "output_dim": 1}
SETTINGS |= {"nth_layer": 3, "use_weighted_layer_sum": True, "normalize_embed": True, "precision": "bf16"}
SCALE = {"CE": (5.0, 1.5), "CU": (5.5, 1.25), "PC": (3.0, 1.0), "PQ": (6.0, 2.0)}
TRANSFORM = {axis: {"mean": mean, "std": deviation} for axis, (mean, deviation) in SCALE.items()}


def waves():
    """Sounds with their rates: windows that are full, filled in part, or one frame."""
    return {
        "short": (noise(52345, 1), 16000),
        "tiny": (noise(100, 2), 16000),
        "long": (noise(330001, 3), 16000),
        "full": (noise(160000, 4), 16000),
        "cd": (noise(66151, 5, 2), 44100),
        "studio": (noise(500001, 6, 2), 48000),
        "low": (noise(20001, 7), 8000),
    }


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "audiobox_official.safetensors")


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audiobox, "ENCODER", BASE | SMALL)
        yield


@pytest.fixture(scope="module")
def state(golden):
    return {name.removeprefix("state."): tensor for name, tensor in golden.items() if name.startswith("state.")}


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    """As the authors store it in a file."""
    path = tmp_path_factory.mktemp("audiobox") / "checkpoint.pt"
    tensors = {f"model.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": tensors, "model_cfg": SETTINGS, "target_transform": TRANSFORM}, path)
    return path


@pytest.fixture(scope="module")
def net(checkpoint):
    return audiobox.load_audiobox(checkpoint)


def test_layers_of_a_masked_window_are_those_of_the_reference(golden, net):
    wave = torch.nn.functional.pad(waves()["short"][0][0], (0, audiobox.WINDOW - 52345))
    found = layers(net.wavlm, wave, int(golden["frames"]))
    assert found.shape[:2] == (3, 164)
    for ours, theirs in zip(found[:, ::7], golden["states"], strict=True):
        assert distance(ours, theirs) < 1e-5


def test_sound_is_resampled_as_by_torchaudio(golden):
    for name in ("cd", "studio", "low"):
        wave, rate = waves()[name]
        found = at_16_khz(wave.mean(0), rate)
        assert len(found) == golden[f"samples.{name}"]
        assert distance(found[:2000], golden[f"wave.{name}"]) < 1e-5


def test_points_are_those_of_the_reference(golden, net):
    for name, (wave, rate) in waves().items():
        found = audiobox.points(net, at_16_khz(wave.mean(0), rate))
        assert list(found) == ["CE", "CU", "PC", "PQ"]
        assert list(found.values()) == pytest.approx(golden[f"score.{name}"].tolist(), abs=5e-6), name
    assert (golden["score.studio"] - golden["score.full"]).abs().min() > 0.01  # far more than the tolerance


def test_every_name_of_the_release_has_a_place():
    names = json.loads((GOLDEN / "audiobox_official_names.json").read_text())
    heads = audiobox.Heads(num_layers=3, norms=True, dropout=0.0, scale=SCALE)
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(audiobox, "ENCODER", BASE)
        own = {name: list(tensor.shape) for name, tensor in audiobox.Aesthetics(heads).state_dict().items()}
    found = {re.sub(r"encoder\.layers\.\d+", "encoder.layers.*", name): shape for name, shape in own.items()}
    first = "wavlm.encoder.layers.*.attention.rel_attn_embed.weight"
    wanted = {our_name(name, audiobox.INSIDE): shape for name, shape in names.items()}
    wanted[first] = wanted.pop(first.replace("*", "0"))
    assert found == wanted


def test_a_folder_gives_what_the_file_gives(state, net, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        json.dumps(SETTINGS | {"target_transform": TRANSFORM, "freeze_encoder": True})
    )
    wave = waves()["short"][0][0]
    assert audiobox.points(audiobox.load_audiobox(tmp_path), wave) == audiobox.points(net, wave)


def test_dropout_only_counts_in_the_names_of_a_head():
    heads = audiobox.Heads(num_layers=2, norms=False, dropout=0.1, scale=SCALE)
    assert [type(module).__name__ for module in audiobox._head(heads, 4)] == ["Linear", "GELU", "Dropout", "Linear"]


def test_other_files_are_refused_by_what_is_wrong(state, tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    lacking = {name: tensor for name, tensor in state.items() if not name.endswith("layers.1.fc2.bias")}
    other = state | {"proj_layer.CE.0.weight": torch.zeros(24, 25)}
    for name, tensors, settings in (
        ("bare", state, {}),
        ("deep", state, SETTINGS | {"nth_layer": 25}),
        ("lacking", lacking, SETTINGS),
        ("other", other, SETTINGS),
        ("more", state | {"head.weight": torch.zeros(1)}, SETTINGS),
    ):
        content = {"state_dict": tensors, "model_cfg": settings, "target_transform": TRANSFORM}
        torch.save(content, tmp_path / f"{name}.pt")
    torch.save(state, tmp_path / "plain.pt")
    for name, message in (
        ("gone.pt", "no such file"),
        ("text.pt", "not a checkpoint"),
        ("plain.pt", "not a checkpoint"),
        ("bare.pt", "nth_layer is None"),
        ("deep.pt", "nth_layer is 25"),
        ("lacking.pt", r"1 missing weights, the first is wavlm.encoder.layers.1.feed_forward.output_dense.bias"),
        ("other.pt", r"1 misshapen weights, the first is proj_layer.CE.0.weight"),
        ("more.pt", r"1 surplus weights, the first is head.weight"),
        ("", "holds config.json and model.safetensors"),
    ):
        with pytest.raises(UserError, match=message):
            audiobox.load_audiobox(tmp_path / name)


def test_what_is_not_whole_has_no_figure(checkpoint):
    entry = Entry(name="a", path=checkpoint, weights={"audiobox": checkpoint})
    for seconds, samples, message in ((20, 20 * 16000, "only its first 20 s"), (1, 0, "no sound")):
        video = torch.zeros(4 * seconds, 3, 32, 32, dtype=torch.uint8)
        with pytest.raises(Unmeasured, match=message):
            audiobox.AUDIOBOX.read(
                entry, Examined(video=video, audio=torch.zeros(2, samples), fps=4.0, sample_rate=16000)
            )


def test_a_folder_is_scored_with_the_users_checkpoint(checkpoint, tmp_path):
    clip = Clip(
        video=torch.zeros(4, 3, 32, 32, dtype=torch.uint8), audio=noise(16000, 1, 2), fps=4.0, sample_rate=16000
    )
    write_clip(tmp_path / "clips" / "a.mp4", clip)
    sources = Sources(clips=tmp_path / "clips", weights={"audiobox": checkpoint})
    report = evaluate_folder(sources, tmp_path / "report", tiers=["paper.audiobox_pq@0.0.4"], num_controls=0, workers=1)
    assert [figure.metric for figure in report.figures] == list(audiobox.NAMES.values())
    assert [metric.better for metric in report.metrics] == ["up", "up", "", "up"]
    assert all(figure.used == 1 for figure in report.figures)
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["figures"]
    assert all(digest(checkpoint) in row["weights"] for row in rows)
    with pytest.raises(UserError, match="needs --weights audiobox=PATH"):
        choose(["paper.audiobox_ce@0.0.4"])
