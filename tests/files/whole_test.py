"""A clip that was cut off is told from a whole one."""

import pytest
import torch

from phonofilm.files.media import write_clip, write_wave
from phonofilm.files.whole import is_whole
from phonofilm.types import Clip


@pytest.mark.parametrize("name", ["clip.mp4", "sound.wav"])
def test_only_the_whole_file_is_whole(tmp_path, name):
    path, sound = tmp_path / name, torch.rand(1, 16000) - 0.5
    if name == "clip.mp4":
        video = torch.randint(0, 255, (25, 3, 32, 32), dtype=torch.uint8)
        write_clip(path, Clip(video=video, audio=sound, fps=25.0, sample_rate=16000), manifest={"seed": 1})
    else:
        write_wave(path, sound, 16000, manifest={"seed": 1})
    content = path.read_bytes()
    assert is_whole(path)
    for share in range(1, 200):
        path.write_bytes(content[: len(content) * share // 200])
        assert not is_whole(path)
    for cut in (content[:-1], content + b"\0", b"", b"RIFF", b"\0" * 100, content + bytes(7)):
        path.write_bytes(cut)
        assert not is_whole(path)
