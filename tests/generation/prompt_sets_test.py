"""Published sets of prompts, in small files of their true format, as lines that generate and evaluate read."""

import json

import pytest
from PIL import Image

from phonofilm.cli import main
from phonofilm.cli.generate import read_requests
from phonofilm.cli.prompt_sets import VerseBench
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import find_entries
from phonofilm.files.media import write_wave
from phonofilm.generation.prompt_sets import portraits, seed_tts, verse_bench, write_rows
from phonofilm.generation.prompts import line_of, speech_of

pytestmark = pytest.mark.quick

ITEM = {
    "video_prompt": "A young boy is sitting on a couch.\n He sings.",
    "audio_prompt": ["Guitar music, singing", "applause"],
    "speech_prompt": {"speaker": "Young boy", "text": "You make me happy"},
}
QUIET = {"video_prompt": "A lake.", "audio_prompt": [""], "speech_prompt": {"speaker": "", "text": ""}}


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (90, 60, 30)).save(path)


@pytest.fixture
def downloaded(tmp_path):
    """Verse-Bench as its metric code finds it."""
    for group, name, item in (("set1", "00000", ITEM), ("set3", "01083", QUIET)):
        picture(tmp_path / group / f"{name}.jpg")
        (tmp_path / group / f"{name}.json").write_text(json.dumps(item))
    return tmp_path


def test_verse_bench_as_downloaded(downloaded):
    boy, lake = verse_bench(downloaded)
    assert boy == {
        "name": "00000",
        "scene": "A young boy is sitting on a couch. He sings.",
        "sound": "Guitar music, singing, applause",
        "say": "You make me happy",
        "image": str(downloaded / "set1" / "00000.jpg"),
    }
    assert lake == {"name": "01083", "scene": "A lake.", "image": str(downloaded / "set3" / "01083.jpg")}
    assert [row["name"] for row in verse_bench(downloaded / "set3")] == ["01083"]
    assert all("image" not in row for row in verse_bench(downloaded, pictures=False))


def test_verse_bench_as_mova_copied_it(tmp_path):
    none = ITEM | {"audio_prompt": ["No ambient sound"], "prompt": "unused"}
    file = tmp_path / "verse_bench_prompts.json"
    file.write_text(json.dumps({"set1": {"00000000": none}, "set2": {"00000300": ITEM}}))
    rows = verse_bench(file)
    assert [(row["name"], row.get("sound")) for row in rows] == [
        ("00000000", None),
        ("00000300", "Guitar music, singing, applause"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_prompt": None}, "00000.json: video_prompt is None"),
        ({"audio_prompt": "wind"}, "00000.json: audio_prompt is 'wind'"),
        ({"speech_prompt": "hello"}, "00000.json, speech_prompt: a JSON object"),
        ({"speech_prompt": {"speaker": "he"}}, "text is None"),
    ],
)
def test_wrong_items_are_named(downloaded, change, message):
    (downloaded / "set1" / "00000.json").write_text(json.dumps(ITEM | change))
    with pytest.raises(UserError, match=message):
        verse_bench(downloaded)


def test_missing_pictures_and_empty_folders_are_named(downloaded, tmp_path):
    (downloaded / "set1" / "00000.jpg").unlink()
    with pytest.raises(UserError, match=r"no picture 00000\.jpg"):
        verse_bench(downloaded)
    (tmp_path / "empty").mkdir()
    for read in (verse_bench, portraits):
        with pytest.raises(UserError, match="holds no"):
            read(tmp_path / "empty")


LINES = [
    "common_voice_en_1-common_voice_en_2|Words of the recording.|wavs/a.wav|We asked over twenty people.",
    "common_voice_en_3-common_voice_en_4|Others.|wavs/a.wav|Note: all is well.|wavs/true.wav",
    "three.wav|Said with a voice.|wavs/a.wav",
    "two|Said by anyone.",
]


def listed(tmp_path, lines=LINES):
    import torch

    write_wave(tmp_path / "wavs" / "a.wav", torch.zeros(1, 1600), 16000)
    (tmp_path / "meta.lst").write_text("\n".join(lines) + "\n")
    return tmp_path / "meta.lst"


def test_seed_tts_lists(tmp_path):
    rows = seed_tts(listed(tmp_path))
    voice = str(tmp_path / "wavs" / "a.wav")
    assert rows == [
        {"name": "common_voice_en_1-common_voice_en_2", "say": "We asked over twenty people.", "voice": voice},
        {"name": "common_voice_en_3-common_voice_en_4", "say": ": Note: all is well.", "voice": voice},
        {"name": "three", "say": "Said with a voice.", "voice": voice},
        {"name": "two", "say": "Said by anyone."},
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("only", "line 5: 1 fields"),
        ("a|b|gone.wav|c", "line 5: there is no recording .*gone.wav"),
        ("a|b|wavs/a.wav|", "line 5: a name and words"),
        ("|said", "line 5: a name and words"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        seed_tts(listed(tmp_path, [*LINES, line]))


FIELDS = {"scene": "a woman in a studio", "sound": "a calm voice", "speech": "good evening"}


def test_portraits_with_three_fields(tmp_path):
    picture(tmp_path / "ada.png")
    (tmp_path / "ada.json").write_text(json.dumps(FIELDS))
    (tmp_path / "set.jsonl").write_text(json.dumps(FIELDS | {"portrait": "ada.png"}) + "\n\n")
    wanted = {"name": "ada", "scene": FIELDS["scene"], "sound": FIELDS["sound"], "say": FIELDS["speech"]}
    wanted["image"] = str(tmp_path / "ada.png")
    assert portraits(tmp_path) == portraits(tmp_path / "set.jsonl") == [wanted]
    for wrong, message in (
        (FIELDS, "line 3: portrait is None"),
        (FIELDS | {"portrait": "ben.png"}, "line 3: there is no portrait"),
        (FIELDS | {"portrait": "ada.png", "speech": 7}, "line 3: speech is 7"),
    ):
        lines = [json.dumps(FIELDS | {"portrait": "ada.png"}), "", json.dumps(wrong)]
        (tmp_path / "wrong.jsonl").write_text("\n".join(lines))
        with pytest.raises(UserError, match=message):
            portraits(tmp_path / "wrong.jsonl")


def test_generate_and_evaluate_read_what_is_written(downloaded, tmp_path, capsys):
    out = tmp_path / "out" / "prompts.jsonl"
    VerseBench(source=downloaded, out=out).run()
    assert "2 prompts" in capsys.readouterr().out
    requests = read_requests(out, tmp_path / "clips")
    assert [place.name for _, place in requests] == ["00000.mp4", "01083.mp4"]
    assert requests[0][0].prompt.speech == (("", "You make me happy"),)
    assert requests[0][0].image is not None
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "00000.mp4").write_bytes(b"")
    entry = find_entries(tmp_path / "clips", prompts=out)[0]
    assert (entry.lines, entry.sound) == (("You make me happy",), "Guitar music, singing, applause")


def test_what_is_asked_for_is_said_whatever_it_looks_like(tmp_path):
    for words in ("plain", "Note: all is well.", ": dots", "left:"):
        assert speech_of([line_of(words)]) == (("", words),)
    (tmp_path / "a.mp4").write_bytes(b"")
    prompts = tmp_path / "p.jsonl"
    for row, wanted in (
        ({"say": ["left: set white now", "right: good morning"]}, ("set white now", "good morning")),
        ({"say": ": Note: well."}, ("Note: well.",)),
        ({"lines": ["left: as it stands"]}, ("left: as it stands",)),
    ):
        prompts.write_text(json.dumps({"name": "a"} | row))
        assert find_entries(tmp_path, prompts=prompts)[0].lines == wanted
    prompts.write_text(json.dumps({"name": "a", "say": ["left: one", "two"]}))
    with pytest.raises(UserError, match=r"p\.jsonl, a: .*who says it"):
        find_entries(tmp_path, prompts=prompts)


def test_two_prompts_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="two prompts are named a"):
        write_rows([{"name": "a"}, {"name": "a"}], tmp_path / "p.jsonl")


def test_unknown_sets_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["prompts", "verse-bnch", "x"])
    assert "did you mean 'verse-bench'" in capsys.readouterr().err
