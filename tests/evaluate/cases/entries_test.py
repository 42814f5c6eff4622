"""Tables about clips mean what they mean to ``generate``."""

import json

import pytest
from extras import needed

needed("espeakng_loader")

from phonofilm.cli.generate import read_requests
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import entry_of, find_entries
from phonofilm.evaluate.cases.heldout import held_out
from phonofilm.files.text import read_json_lines

pytestmark = pytest.mark.quick

ROWS = [
    {"name": "x.mp4", "scene": "a ball", "say": "set white now"},
    {"name": "plain", "prompt": 'a man with a beard says "hello you" and waits'},
    {"scene": "nobody named this one", "say": ["left: good morning", "right: good evening"]},
    {"name": "Ünï.côde", "prompt": "a ball, nobody speaks"},
]
SAID = [("set white now",), ("hello you",), ("good morning", "good evening"), ()]


def test_clips_are_named_and_speak_as_generate_takes_it(tmp_path):
    """Names with a suffix, without one, and none at all; words in ``say``, and quoted in ``prompt``."""
    table, clips = tmp_path / "p.jsonl", tmp_path / "clips"
    table.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    requests = list(read_requests(table, clips))
    clips.mkdir(exist_ok=True)
    for _, out in requests:
        out.write_bytes(b"")
    entries = {entry.path: entry for entry in find_entries(clips, prompts=table)}
    assert set(entries) == {out for _, out in requests}
    for (request, out), said in zip(requests, SAID, strict=True):
        assert tuple(words for _, words in request.prompt.speech) == said
        assert entries[out].lines == said


def test_a_clip_may_have_a_suffix_in_its_name(tmp_path):
    (tmp_path / "x.mp4.mp4").write_bytes(b"")
    (tmp_path / "p.jsonl").write_text('{"name": "x.mp4", "say": "hello"}')
    (entry,) = find_entries(tmp_path, prompts=tmp_path / "p.jsonl")
    assert (entry.name, entry.lines) == ("x.mp4", ("hello",))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_those_of_json(mark, tmp_path):
    """A byte-order mark is no part of the first one, and Unicode's separators end none."""
    path = tmp_path / "p.jsonl"
    path.write_bytes((mark + '{"say": "one\u2028two\u0085"}\r\n\n{"say": "3"}\n').encode())
    assert read_json_lines(path) == [(1, {"say": "one\u2028two\u0085"}), (3, {"say": "3"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "line 1: not JSON"), (b"[1]", "line 1: a JSON object is wanted"), (b"\xff", "cannot be read as text")],
)
def test_what_is_no_table_is_refused(content, message, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json_lines(path)


def test_a_held_out_prompt_is_an_entry_with_a_truth(tmp_path):
    """The same whether the prompt is at hand or only the clip's name."""
    for case in held_out("val", {"grid": 1, "ball": 1}):
        entry = entry_of(case, tmp_path)
        entry.path.write_bytes(b"")
        (found,) = [one for one in find_entries(tmp_path) if one.name == case.id]
        assert (found.truth, found.lines, found.path) == (entry.truth, entry.lines, entry.path)
        assert entry.group == case.group
