"""One line is as good as three fields, in any language's quotes; names are words of any script."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonofilm.errors import UserError
from phonofilm.generation.prompts import is_name, line_of, prompt_of_line, speaker_of, speech_of, straight, voice_of

pytestmark = pytest.mark.quick

WORDS = st.lists(st.from_regex(r"[^\W_]+('[^\W_]+)?", fullmatch=True), min_size=1, max_size=6).map(" ".join)
NAMES = st.from_regex(r"[^\W\d_][^\W_]{0,8}", fullmatch=True).map(straight).filter(is_name)
PAIRS = ['""', "“”", "„“", "„”", "«»", "»«", "»»", "‹›", "''", "‘’", "‚‘", "「」", "『』", "＂＂"]


@pytest.mark.parametrize(
    ("line", "scene", "speech"),
    [
        ('a man with a beard says "hello you"', "a man with a beard", ["hello you"]),
        ('A woman, pale skin, and says: "set  white now".', "A woman, pale skin", ["set white now"]),
        ("a red ball bounces on a green floor", "a red ball bounces on a green floor", []),
        ("“good morning” a woman, saying “bye”, blue background", "a woman, blue background", ["good morning", "bye"]),
        ('"set white"', "", ["set white"]),
        ('a woman who said "" ', "a woman", []),
        ("a man says 'don't go', the dogs' bowl", "a man, the dogs' bowl", ["don't go"]),
        ("a ’90s look, a woman says ‘it’s rock ’n’ roll’", "a ’90s look, a woman", ["it's rock 'n' roll"]),
        ("a man's hat in the '90s", "a man's hat in the '90s", []),
        ("a man says „Guten Tag“ and says »na«", "a man", ["Guten Tag", "na"]),
        ("A man, <S>hi there<E>. <AUDCAP>rain on a roof<ENDAUDCAP>", "A man", ["hi there"]),
        ("un homme dit : « bonjour » et sourit", "un homme dit et sourit", ["bonjour"]),
    ],
)
def test_quoted_words_are_the_speech(line, scene, speech):
    prompt = prompt_of_line(line, sound="a high voice")
    assert (prompt.scene, [words for _, words in prompt.speech]) == (scene, speech)
    assert prompt.sound == "a high voice" + ", rain on a roof" * ("AUDCAP" in line)


@pytest.mark.parametrize(
    "line", ['a man says "hello', "a man says “hello", 'a "b" c"', "a man <S>hello", "a man hi<E>"]
)
def test_open_quotes_are_refused(line):
    with pytest.raises(UserError, match="not closed"):
        prompt_of_line(line)


@settings(deadline=None, max_examples=100)
@given(words=WORDS, pair=st.sampled_from(PAIRS))
def test_any_quotes_hold_the_same_words(words, pair):
    prompt = prompt_of_line(f"a red ball {pair[0]}{words}{pair[1]}, rain")
    assert prompt.scene == "a red ball, rain"
    if words != "n":  # as in rock 'n' roll
        assert prompt.speech == (("", straight(words)),)


def test_long_lines_take_no_time():
    start = time.process_time()
    for piece in ("and ", "'", "' ", " '", "a b, ", "’s ‘", " ’n’", '" "', "«a» "):
        prompt_of_line(piece * (10_000 // len(piece) // 2 * 2))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("line", "who", "words"),
    [
        ("left: hi", "left", "hi"),
        ("left:hi", "left", "hi"),
        ("Ängela: hi", "Ängela", "hi"),
        (unicodedata.normalize("NFD", "Ängela: hi"), "Ängela", "hi"),
        ("小明: 你好", "小明", "你好"),
        ("小明：你好", "小明", "你好"),
        ("नमिता: नमस्ते", "नमिता", "नमस्ते"),
        ("O’Brien : it’s late", "O'Brien", "it's late"),
        ("Jean-Luc: go", "Jean-Luc", "go"),
        (": Note: the sea", "", "Note: the sea"),
        ("at 10:30 we go", "", "at 10:30 we go"),
        ("10:30 is late", "", "10:30 is late"),
        ("http://x.org is down", "", "http://x.org is down"),
        (":) hi", "", ":) hi"),
    ],
)
def test_one_word_before_a_colon_is_the_speaker(line, who, words):
    assert speech_of([line]) == ((who, words),)


@pytest.mark.parametrize("line", ["left:", "Mr. Smith: hello", "Speaker 1: hi"])
def test_names_without_words_and_of_several_words_are_refused(line):
    with pytest.raises(UserError, match=r"--say"):
        speech_of([line])


@settings(deadline=None, max_examples=200)
@given(who=NAMES, words=WORDS)
def test_names_in_any_script_are_names(who, words):
    assert speech_of([f"{who}: {words}"]) == ((who, straight(words)),)
    assert speech_of([f"{who}:{words}"]) == ((who, straight(words)),)
    assert voice_of(f"{who}=a/b=c.wav") == (who, "a/b=c.wav")


@settings(deadline=None, max_examples=300)
@given(text=st.text(max_size=40))
def test_a_line_of_words_is_read_as_these_words(text):
    words = " ".join(straight(text).split())
    if words:
        assert speech_of([line_of(text)]) == (("", words),)


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet=st.sampled_from("ab '’‘\"“”«»:,<S>E."), max_size=30))
def test_any_line_is_read_or_refused(text):
    try:
        prompt = prompt_of_line(text)
        speaker_of(text)
    except UserError:
        return
    assert all(words for _, words in prompt.speech)
