import numpy as np
import pytest
import torch
from extras import needed

needed("jiwer", "pocketsphinx")

from phonofilm.evaluate.readers.speech import prepare, recognise, word_errors, words

pytestmark = pytest.mark.quick

JSGF = "#JSGF V1.0;\ngrammar tiny;\npublic <s> = (set | lay) <colour> now;\n<colour> = white | blue;\n"


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("set white now", "set white now", 0),
        ("Set white, now!", "set white now", 0),
        ("set white now", "set blue now", 1),
        ("set white now", "set now", 1),
        ("set white now", "set white white now", 1),
        ("set white now", "", 3),
    ],
)
def test_word_errors(said, heard, errors):
    assert word_errors(said, heard) == (errors, 3)


def test_nothing_said():
    assert word_errors("", "set now") == (2, 0)


def test_words_keep_apostrophes():
    assert words("I'm HERE, now.") == ["i'm", "here", "now"]


def test_input_is_padded_and_never_digital_silence():
    tone = torch.sin(torch.arange(16000) * 0.1)[None] * 0.5
    samples = np.frombuffer(prepare(tone, 16000), "<i2").astype(float) / 32767
    assert len(samples) == 16000 + 2 * 4800
    noise = samples[:4800]
    assert 20 * np.log10(noise.std() / np.abs(samples).max()) == pytest.approx(-60, abs=0.5)
    assert prepare(tone, 16000) == prepare(tone, 16000)


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="22050"):
        prepare(torch.zeros(1, 100), 22050)


def test_silence_is_heard_as_nothing():
    assert recognise(torch.zeros(1, 16000), 16000, JSGF) == ""


def test_words_outside_the_dictionary_are_named():
    with pytest.raises(ValueError, match="zorblax"):
        recognise(torch.zeros(1, 16000), 16000, JSGF.replace("blue", "zorblax"))


def test_a_grammar_that_does_not_parse_is_refused():
    with pytest.raises(ValueError, match="JSGF"):
        recognise(torch.zeros(1, 16000), 16000, "#JSGF V1.0; grammar x; public <s> = (set ")
