"""Prompts to conditions."""

import pytest
import torch

from phonofilm.encoders import text
from phonofilm.encoders.features import FeatureEncoder
from phonofilm.types import Prompt

PROMPT = Prompt(scene="A woman,  red hair", sound="a high voice", speech=(("left", "Hi."), ("right", "Bye.")))


def test_bytes_end_with_the_end():
    tokens = text.ByteEncoder(text.scene)([PROMPT, Prompt(scene="hi")])
    assert tokens.x.shape == tokens.mask.shape == (2, len("a woman, red hair") + 1)
    assert tokens.x[1, :3].tolist() == [ord("h") + 2, ord("i") + 2, text.END]
    assert tokens.mask.sum(dim=1).tolist() == [18, 3]
    assert bytes(int(i) - 2 for i in tokens.x[0, :-1]).decode() == "a woman, red hair"


def test_an_empty_text_is_the_end_alone():
    tokens = text.ByteEncoder(text.nothing)([PROMPT])
    assert tokens.x.tolist() == [[text.END]]


def test_speakers_are_named_when_there_are_names():
    assert text.speech(PROMPT) == "left: Hi.; right: Bye."
    assert text.speech(Prompt(speech=(("", "set white"),))) == "set white"


def test_letters_that_no_model_read_are_refused():
    with pytest.raises(ValueError, match="plain English letters"):
        text.ByteEncoder(text.speech)([Prompt(speech=(("", "grüße"),))])


def test_t5_features_and_their_mask(tmp_path):
    """A tiny T5 with random weights through the same loader as the published one."""
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    tokens = FeatureEncoder(str(tmp_path), text.render)([PROMPT, Prompt()])
    assert tokens.x.shape[-1] == 16
    assert tokens.mask.sum(dim=1)[0] > tokens.mask.sum(dim=1)[1]
    assert not tokens.x.requires_grad
    with pytest.raises(ValueError, match="shorten"):
        FeatureEncoder(str(tmp_path), text.render, length=4)([PROMPT])
    assert torch.equal(tokens.x, FeatureEncoder(str(tmp_path), text.render)([PROMPT, Prompt()]).x)
