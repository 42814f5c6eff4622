"""Our SyncNet against joonson/syncnet_python on random weights: mel cepstra, vectors, distances and scores."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from phonofilm.errors import UserError
from phonofilm.evaluate.folder import Sources, evaluate_folder
from phonofilm.evaluate.paper import syncnet
from phonofilm.evaluate.paper.mfcc import mfcc
from phonofilm.files.media import write_clip
from phonofilm.types import Clip

GOLDEN = Path(__file__).parents[2] / "golden" / "syncnet" / "syncnet_python.npz"


def fill(net):
    """Weights from each parameter's name, of a size that keeps activations near 1."""
    with torch.no_grad():
        for name, value in net.state_dict().items():
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            if name.endswith("running_var"):
                value.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, value.shape)))
            elif value.ndim == 1:
                value.copy_(torch.from_numpy(rng.normal(0.5, 0.2, value.shape)))
            elif value.ndim > 1:
                size = (2 / value[0].numel()) ** 0.5
                value.copy_(torch.from_numpy(rng.normal(0, size, value.shape)))
            if name.startswith("netfclip.3"):
                value.mul_(0.3)  # pixels are large: without it every vector of speech is small beside a mouth's


def inputs():
    """12 pixel frames of a smooth picture that moves, and 0.48 s of sound."""
    y, x = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    waves = [[torch.sin(x / (9 + c) + t / 2) * torch.cos(y / (14 - c) - t / 3) for c in range(3)] for t in range(12)]
    crop = (127.5 + 127 * torch.stack([torch.stack(w) for w in waves])).to(torch.uint8)
    wave = 0.3 * np.random.default_rng(7).standard_normal(12 * 640) * np.linspace(0.1, 1, 12 * 640)
    return crop, torch.from_numpy(wave).float().clamp(-1, 1)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


@pytest.fixture(scope="module")
def net():
    net = syncnet.SyncNet().eval()
    fill(net)
    return net


def test_cepstra_are_those_of_python_speech_features(golden):
    samples = (inputs()[1].double() * 32768).round().clamp(-32768, 32767).numpy()
    assert mfcc(samples).T[:, :40] == pytest.approx(golden["mfcc"], rel=1e-5, abs=1e-4)


def test_cepstra_of_silence_are_finite():
    assert np.isfinite(mfcc(np.zeros(3200))).all()


def test_vectors_are_those_of_the_reference(golden, net):
    crop, wave = inputs()
    samples = (wave.double() * 32768).round().clamp(-32768, 32767).numpy()
    cepstra = torch.from_numpy(mfcc(samples)).float().T
    seen = torch.stack([crop[i : i + 5].flip(1).transpose(0, 1) for i in range(3)]).float()
    heard = torch.stack([cepstra[None, :, 4 * i : 4 * i + 20] for i in range(3)])
    with torch.no_grad():
        for name, found in (("mouth", net.mouth_vectors(seen)), ("speech", net.speech_vectors(heard))):
            wanted = torch.from_numpy(golden[name])
            assert float((found - wanted).norm() / wanted.norm()) < 1e-5


def test_distances_are_those_of_the_reference(golden, net):
    crop, wave = inputs()
    apart = []
    real = syncnet.distances

    def kept(mouths, speech):
        apart.append(real(mouths, speech))
        return apart[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncnet, "distances", kept)
        syncnet.score_crop(net, crop, wave)
    assert apart[0].mean(0).numpy() == pytest.approx(golden["mdist"], rel=1e-4)


def test_scores_are_those_of_the_reference(golden, net):
    found = syncnet.score_crop(net, *inputs())
    confidence, distance, offset = golden["score"]
    assert found.confidence == pytest.approx(confidence, rel=1e-3, abs=1e-3 * distance)
    assert found.distance == pytest.approx(distance, rel=1e-4)
    assert found.offset == offset


def test_checkpoints_load_by_name_and_others_are_refused(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "net.model")
    loaded = syncnet.load_syncnet(tmp_path / "net.model")
    assert all((a == b).all() for a, b in zip(loaded.state_dict().values(), net.state_dict().values(), strict=True))
    (tmp_path / "text.model").write_text("no weights")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.model")
    for name, message in (("gone", "no such file"), ("text", "not a checkpoint"), ("other", "not a checkpoint")):
        with pytest.raises(UserError, match=message):
            syncnet.load_syncnet(tmp_path / f"{name}.model")


def test_short_clips_are_refused(net):
    crop, wave = inputs()
    with pytest.raises(ValueError, match="at least 6"):
        syncnet.score_crop(net, crop[:5], wave)


def test_a_picture_becomes_a_crop_at_25_per_second():
    video = torch.arange(48, dtype=torch.uint8)[:, None, None, None].expand(48, 3, 8, 12)
    crop = syncnet.as_crop(video, 24.0)
    assert crop.shape == (50, 3, 224, 224)
    assert crop[0].unique().tolist() == [0]
    assert crop[-1].unique().tolist() == [47]
    assert crop[25, 0, 0, 0] == 24


def test_a_folder_is_scored_with_the_users_weights(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "net.model")
    crop, wave = inputs()
    write_clip(tmp_path / "clips" / "a.mp4", Clip(video=crop, audio=wave[None], fps=25.0, sample_rate=16000))
    sources = Sources(clips=tmp_path / "clips", weights={"syncnet": tmp_path / "net.model"})
    report = evaluate_folder(sources, tmp_path / "report", tiers=["paper.lse_c@lrs"], num_controls=0, workers=1)
    names = {figure.metric for figure in report.figures}
    assert names == {"paper.lse_c@lrs", "paper.lse_d@lrs", "paper.sync_offset@lrs"}  # the offset is never left out
    assert all(f"| {name} " in (tmp_path / "report" / "report.md").read_text() for name in names)
    assert all(figure.used == 1 for figure in report.figures)
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["figures"]
    assert all("sha256" in row["weights"] and row["comparable_to_papers"] is False for row in rows)
