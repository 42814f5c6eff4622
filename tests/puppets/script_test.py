import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from extras import needed

needed("espeakng_loader")

from phonofilm.files.loudness import LEVEL
from phonofilm.puppets import captions, grammars, looks
from phonofilm.puppets.mouth import parts
from phonofilm.puppets.performance import ball_curve, perform
from phonofilm.puppets.script import (
    EMOTIONS,
    SLACK,
    SPLITS,
    STAGES,
    combination,
    contact_times,
    split_of,
    write_script,
)
from phonofilm.puppets.sounds import level
from phonofilm.puppets.voice import RATES, SAMPLE_RATE, VOICES, speak


def scripts(count, **arguments):
    return [write_script(seed, **arguments) for seed in range(count)]


def test_a_script_depends_on_its_arguments_alone():
    assert write_script(7, split="test") == write_script(7, split="test")
    assert write_script(7) != write_script(8)


def test_another_process_writes_and_says_the_same():
    code = (
        "import json, dataclasses; from phonofilm.puppets.script import write_script; "
        "print(json.dumps([dataclasses.asdict(write_script(s, split='val')) for s in range(4)])); "
        "from phonofilm.puppets.voice import speak; u = speak('bin blue at a nine now', 'ben'); "
        "print(u.wave.double().abs().sum().item(), u.phonemes[-1].end)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    written, heard = out.splitlines()
    here = [dataclasses.asdict(write_script(seed, split="val")) for seed in range(4)]
    assert json.loads(written) == json.loads(json.dumps(here))
    total, end = map(float, heard.split())
    said = speak("bin blue at a nine now", "ben")
    assert total == pytest.approx(said.wave.double().abs().sum().item(), rel=1e-9)
    assert end == said.seconds


def test_a_performance_depends_on_its_script_alone():
    for stage in STAGES:
        script = write_script(3, stage=stage)
        first = perform(script)
        speak.cache_clear()
        second = perform(script)
        for field in dataclasses.fields(first):
            a, b = getattr(first, field.name), getattr(second, field.name)
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, (stage, field.name)


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_and_looks_belong_to_their_split(split):
    for script in scripts(15, split=split, stage="speaker"):
        assert split_of(script.lines[0].words) == split
        assert split_of(combination(script.looks[0])) == split
    for script in scripts(5, split=split, stage="dialogue"):
        assert split_of(" / ".join(line.words for line in script.lines)) == split
    for script in scripts(15, split=split, stage="ball"):
        assert split_of(" ".join(script.scenery[:3])) == split


def test_splits_have_their_shares_and_every_voice_look_and_emotion():
    counts = Counter(split_of(f"sentence {i}") for i in range(5000))
    assert counts["train"] == pytest.approx(4500, abs=90)
    assert counts["val"] == pytest.approx(250, abs=60)
    test = scripts(120, split="test", stage="speaker")
    assert {script.lines[0].voice for script in test} == set(VOICES)
    assert {script.emotion for script in test} == set(EMOTIONS)
    for name, table in (("skin", looks.SKINS), ("hair", looks.HAIRS), ("cut", looks.CUTS)):
        assert {getattr(script.looks[0], name) for script in test} == set(table)
    assert {script.looks[0].background for script in test} == set(looks.BACKGROUNDS)
    assert {(s.looks[0].glasses, s.looks[0].beard) for s in test} >= {(True, False), (False, True), (False, False)}


def test_the_default_mix_is_the_shipped_models():
    stages = Counter(script.stage for script in scripts(150))
    assert set(stages) == {"speaker", "ball"}
    assert stages["ball"] == pytest.approx(22, abs=12)
    only = {script.stage for script in scripts(20, stages={"rain": 1.0, "keyboard": 1.0})}
    assert only == {"rain", "keyboard"}


def test_speech_fits_and_voices_suit_their_puppets():
    for script in scripts(40, stage="speaker") + scripts(8, stage="dialogue"):
        words = perform(script).words
        assert words[0].start >= 0.05
        assert words[-1].end <= script.seconds - 0.08 + SLACK
        for line in script.lines:
            assert RATES[0] <= line.rate <= RATES[1]
            assert VOICES[line.voice].person == script.looks[line.speaker].person
        assert [word.text for word in words] == " ".join(line.words for line in script.lines).split()


def test_two_speakers_take_turns():
    for script in scripts(6, stage="dialogue"):
        performance = perform(script)
        assert performance.speaking.sum(0).max() == 1
        assert performance.opening.shape == (2, 49)
        ends = max(p.end for p in performance.phonemes[0])
        assert ends < min(p.start for p in performance.phonemes[1])
        assert script.looks[0].background == script.looks[1].background
        assert [speaker for speaker, _ in script.prompt.speech] == ["left", "right"]


@pytest.mark.parametrize("grammar", ["grid", "talk"])
def test_a_speaker_may_keep_to_one_grammar(grammar):
    scripts = [write_script(seed, stages={grammar: 1.0}) for seed in range(4)]
    assert {(script.stage, script.grammar) for script in scripts} == {("speaker", grammar)}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("num_frames", "fps"), [(49, 24.0), (65, 25.0)])
def test_a_performance_has_the_shapes_and_levels_of_its_clip(stage, num_frames, fps):
    performance = perform(write_script(2, stage=stage, num_frames=num_frames, fps=fps))
    people = {"speaker": 1, "dialogue": 2}.get(stage, 0)
    assert performance.wave.shape == (1, round(num_frames / fps * SAMPLE_RATE))
    assert 0.02 < performance.wave.abs().max() < 0.95
    for name in ("opening", "width", "speaking", "blink", "brow_raise", "brow_tilt", "smile"):
        assert getattr(performance, name).shape == (people, num_frames)
    for name in ("opening", "width", "blink"):
        curve = getattr(performance, name)
        assert ((curve >= 0) & (curve <= 1)).all()
    assert performance.head.shape == (people, num_frames, 3)
    assert (performance.head.abs() <= torch.tensor([0.03, 0.03, 0.08])).all()
    assert performance.ball.shape == (num_frames, 2)
    assert performance.keys.shape == (num_frames, looks.NUM_KEYS)


def test_all_stages_are_equally_loud():
    for stage in STAGES:
        for seed in range(4):
            wave = perform(write_script(seed, stage=stage)).wave[0]
            loud = wave[: len(wave) // 320 * 320].reshape(-1, 320).square().mean(1)
            loud = loud[loud > loud.max() * 10**-2.5].mean().sqrt()
            assert 0.05 < loud < 1.3 * LEVEL, (stage, seed, loud)
    assert torch.equal(level(torch.zeros(640)), torch.zeros(640))


def test_the_mouth_moves_with_the_sound():
    for script in scripts(4, stage="speaker"):
        performance = perform(script)
        frames = performance.wave[0].unfold(0, 666, 666).square().mean(1).sqrt()[:48]
        moving = performance.opening[0, :48] > 0.02
        assert frames[moving].mean() > 5 * frames[~moving].mean()
        assert performance.opening[0].max() > 0.6


def test_ball_contacts_are_heard_and_seen_when_they_happen():
    for script in scripts(10, stage="ball"):
        performance = perform(script)
        times = [event.seconds for event in script.events]
        assert len(times) >= 2
        wave = performance.wave[0]
        for seconds in times:
            at = round(seconds * SAMPLE_RATE)
            before = wave[max(at - 480, 0) : at - 16].abs().max()
            after = wave[at : at + 80].abs().max()
            if at + 80 < len(wave):
                assert after > 0.1
                assert after > 2 * before
        fine = ball_curve(script.ball, torch.tensor(times, dtype=torch.float64))
        assert fine[:, 1].abs().max() < 1e-5


def test_a_ball_flies_in_parabolas_under_one_gravity():
    script = write_script(4, stage="ball")
    ball = script.ball
    times = torch.arange(0, 2.0, 0.001, dtype=torch.float64)
    path = ball_curve(ball, times).double()
    contacts = torch.tensor(contact_times(ball, 4.0), dtype=torch.float64)
    away = (times[1:-1, None] - contacts).abs().min(1).values > 0.005
    bend = (path[2:, 1] - 2 * path[1:-1, 1] + path[:-2, 1]) / 1e-6
    assert bend[away].mean() == pytest.approx(-ball.gravity, rel=0.01)
    assert path[:, 1].min() >= 0
    assert path[:, 1].max() <= 0.56
    assert (path[:, 0] > 0.1).all()
    assert (path[:, 0] < 0.9).all()


def test_keys_light_when_they_sound():
    script = write_script(5, stage="keyboard")
    performance = perform(script)
    middles = (torch.arange(49) + 0.5) / 24
    for event in script.events:
        struck = int((middles < event.seconds).sum())
        if struck < 49:
            assert performance.keys[struck, event.index] > 0.75
        at = round(event.seconds * SAMPLE_RATE)
        after = performance.wave[0, at : at + 400]
        assert after.abs().max() > 0.05
    assert (performance.keys.sum(1) > 0.5).any()


def test_grammars_are_closed_and_large_enough():
    assert len(grammars.words(grammars.TALK)) >= 250
    assert len(grammars.words(grammars.GRID)) == 51
    for grammar in grammars.GRAMMARS.values():
        known = set(grammars.words(grammar))
        for script in [s for s in scripts(20, stage="speaker") if s.grammar == grammar.name]:
            said = script.lines[0].words.split()
            assert set(said) <= known
            assert 5 <= len(said) <= 8


def test_all_words_have_a_mouth():
    for grammar in grammars.GRAMMARS.values():
        for word in grammars.words(grammar):
            assert all(parts(phoneme) for phoneme in speak(word, "ada").phonemes)


@pytest.mark.parametrize("name", grammars.GRAMMARS)
def test_pocketsphinx_reads_the_grammar_and_knows_its_words(name):
    pocketsphinx = needed("pocketsphinx")
    grammar = grammars.GRAMMARS[name]
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    assert [word for word in grammars.words(grammar) if decoder.lookup_word(word) is None] == []
    decoder.add_jsgf_string(name, grammars.jsgf(grammar))
    decoder.activate_search(name)
    wave = speak(write_script(1, stage="speaker").lines[0].words, "eva").wave
    decoder.start_utt()
    decoder.process_raw((wave * 20000).to(torch.int16).numpy().tobytes(), full_utt=True)
    decoder.end_utt()
    assert set((decoder.hyp().hypstr if decoder.hyp() else "").split()) <= set(grammars.words(grammar))


def test_captions_name_what_must_be_named():
    table = captions.vocabulary()
    glue = {"a", "an", "with", "and", "skin", "hair", "shirt", "background"}
    words = glue | {word for group in table.values() for word in group}
    for script in scripts(40, stage="speaker") + scripts(10, stage="ball"):
        scene = script.prompt.scene
        assert set(scene.replace(",", "").split()) <= words | {"ball", "floor", "bounces", "bouncing", "on"}
        for look in script.looks:
            assert f"{look.hair} hair" in scene
            assert look.skin in scene
            assert look.person in scene
            assert f"{look.background} background" in scene
            assert ("glasses" in scene) == look.glasses
            assert ("beard" in scene) == look.beard
            assert look.beard is False or look.person == "man"


def test_the_sound_names_the_voice_and_is_left_out_of_training_clips_only():
    train = [script.prompt.sound for script in scripts(60, stage="speaker")]
    assert 5 <= train.count("") <= 32
    for script in scripts(20, split="test", stage="speaker"):
        assert VOICES[script.lines[0].voice].height in script.prompt.sound.split()
        assert script.prompt.speech == (("", script.lines[0].words),)
    orders = {script.prompt.scene.split(" ")[0] for script in scripts(30, stage="speaker")}
    assert len(orders) >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "splits are train, val, test"),
        ({"stage": "circus"}, "stages are speaker"),
        ({"stages": {"circus": 1.0}}, "stages are speaker"),
        ({"stages": {}}, "no weights of stages"),
        ({"stage": "speaker", "num_frames": 1}, "no sentence fits in 1 pixel frames"),
        ({"num_frames": 0}, "must be positive"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        write_script(0, **arguments)


def test_the_docs_list_every_word_that_scenes_understand_and_every_voice():
    page = (Path(__file__).parents[2] / "docs" / "how-it-works" / "puppets.md").read_text()
    for meaning, words in captions.vocabulary().items():
        assert f"| {meaning} | {', '.join(words)} |" in page
    for voice in VOICES.values():
        assert f"| {voice.name} | {voice.person}, {voice.height} | en-us+{voice.variant}, pitch {voice.pitch} |" in page
