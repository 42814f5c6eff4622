"""A corpus is resumable, says what is true, and is the same again."""

import json

import pytest
import torch

from phonofilm.errors import UserError
from phonofilm.files.media import read_clip, read_manifest
from phonofilm.puppets import corpus
from phonofilm.puppets.corpus import Corpus, contact_sheet, make, read_truth

SMALL = {"size": 32, "stages": {"speaker": 1.0, "ball": 1.0, "dialogue": 1.0}, "seed": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("puppets")
    assert make(folder, Corpus(clips=6, **SMALL)) == 6
    return folder


def test_rows_tell_the_truth_of_their_clips(made):
    rows = read_truth(made).to_pylist()
    assert [row["index"] for row in rows] == list(range(6))
    assert {row["stage"] for row in rows} >= {"speaker", "ball"}
    for row in rows:
        clip = read_clip(made / row["file"])
        assert clip.video.shape == (49, 3, 32, 32)
        assert abs(clip.audio.shape[-1] - 32667) < 16
        assert read_manifest(made / row["file"])["seed"] == row["seed"] == 4 + row["index"]
        assert torch.tensor(row["mouth"]).shape == (49, 4)
        assert len(row["opening"]) == len(row["looks"])
        if row["looks"]:
            said = " ".join(turn["words"] for turn in row["speech"]).split()
            assert [word["text"] for word in row["words"]] == said
            assert len(row["turns"]) == len(row["voices"]) == len(row["looks"])
        else:
            assert row["events"]
            assert len(row["ball"]) == 49


def test_nothing_is_made_twice_and_more_can_follow(made):
    old = (made / "clips/0000002.mp4").stat().st_mtime_ns
    assert make(made, Corpus(clips=6, **SMALL)) == 0
    assert make(made, Corpus(clips=7, **SMALL)) == 1
    assert (made / "clips/0000002.mp4").stat().st_mtime_ns == old
    assert read_truth(made).num_rows == 7


def test_a_run_that_was_killed_goes_on(made, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SHARD", 2)

    def die(folder, settings, index, write=corpus._write):
        if index == 5:
            raise KeyboardInterrupt
        return write(folder, settings, index)

    with monkeypatch.context() as patch:
        patch.setattr(corpus, "_write", die)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, Corpus(clips=6, **SMALL))
    assert not (tmp_path / corpus.TRUTH).exists()
    assert read_truth(tmp_path).num_rows == 4
    (tmp_path / "clips/0000001.mp4").unlink()
    assert make(tmp_path, Corpus(clips=6, **SMALL)) == 3
    assert read_truth(tmp_path).to_pylist() == read_truth(made).slice(0, 6).to_pylist()
    assert not list((tmp_path / corpus.PARTS).iterdir())
    again, before = (read_clip(folder / "clips/0000003.mp4") for folder in (tmp_path, made))
    assert (again.video.float() - before.video.float()).abs().mean() < 0.5  # x264 itself is not always the same
    assert torch.equal(again.audio, before.audio)


def test_a_folder_holds_one_corpus(made):
    with pytest.raises(UserError, match="seed 4 and not 5"):
        make(made, Corpus(clips=6, **(SMALL | {"seed": 5})))
    assert json.loads((made / corpus.SETTINGS).read_text())["seed"] == 4


def test_contact_sheet_shows_clips_side_by_side(made):
    sheet = contact_sheet(made, clips=3, frames=4, columns=2)
    assert sheet.size == (2 * (4 * 32 + 6) + 6, 2 * (32 + 16 + 6) + 6)
    assert len(sheet.getcolors(100000)) > 50


def test_impossible_corpora_are_refused(tmp_path):
    with pytest.raises(UserError, match="0 clips"):
        Corpus(clips=0)
    with pytest.raises(UserError, match="33 pixels"):
        Corpus(clips=1, size=33)
    with pytest.raises(UserError, match="no puppets in it"):
        read_truth(tmp_path)
