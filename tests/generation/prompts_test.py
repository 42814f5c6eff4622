"""One line is as good as three fields."""

import pytest

from phonofilm.errors import UserError
from phonofilm.generation.prompts import prompt_of_line


@pytest.mark.parametrize(
    ("line", "scene", "speech"),
    [
        ('a man with a beard says "hello you"', "a man with a beard", ["hello you"]),
        ('A woman, pale skin, and says: "set  white now".', "A woman, pale skin", ["set white now"]),
        ("a red ball bounces on a green floor", "a red ball bounces on a green floor", []),
        ("“good morning” a woman, saying “bye”, blue background", "a woman, blue background", ["good morning", "bye"]),
        ('"set white"', "", ["set white"]),
        ('a woman who said "" ', "a woman", []),
    ],
)
def test_quoted_words_are_the_speech(line, scene, speech):
    prompt = prompt_of_line(line, sound="a high voice")
    assert (prompt.scene, [words for _, words in prompt.speech]) == (scene, speech)
    assert prompt.sound == "a high voice"


@pytest.mark.parametrize("line", ['a man says "hello', "a man says “hello", 'a "b" c"'])
def test_open_quotes_are_refused(line):
    with pytest.raises(UserError, match="not closed"):
        prompt_of_line(line)
