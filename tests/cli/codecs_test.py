"""``phonofilm codecs train``: what is refused before anything is drawn, and that it trains what the folder lacks."""

import pytest
from commands import refused

from phonofilm.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        code = 0
        try:
            main(["codecs", *arguments])
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


def test_what_is_wrong_is_said_before_anything_is_drawn(run, tmp_path):
    (tmp_path / "file").write_text("")
    refused(run("train", "--out", "file"), "file", "a folder is wanted")
    refused(run("train", "--out", "new", "--clips", "3"), "--clips 3", "64")
    refused(run("tran", "--out", "new"), "'tran'", "train")
    assert not (tmp_path / "new").exists()


def test_the_folder_the_clips_and_the_choice_of_a_vocoder_reach_the_training(run, tmp_path, monkeypatch):
    from phonofilm.train.codecs import pocket

    calls = []
    monkeypatch.setattr(pocket, "main", lambda *given, **named: calls.append((*given, named)))
    code, out, _ = run("train", "--out", "codecs", "--clips", "64", "--vocoder")
    assert (code, out.strip()) == (0, "codecs")
    ((folder, clips, named),) = calls
    assert (str(folder), clips, named) == ("codecs", 64, {"vocoder": True})
