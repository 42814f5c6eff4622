import math
import sys

import pytest
import torch
from extras import needed

needed("espeakng_loader")

from phonofilm.puppets.mouth import CLOSES, REST, SMOOTH, opening_curve, parts, width_curve
from phonofilm.puppets.voice import EMOTION_SHIFTS, SAMPLE_RATE, VOICES, Phoneme, resample, speak, spoken

pytestmark = pytest.mark.quick

SENTENCE = "set white with p two soon"


def pitch(wave: torch.Tensor) -> float:
    """Median F0 by the autocorrelation of the loud 40 ms frames, taken at its first strong peak."""
    frames = wave.unfold(0, 640, 320).double()
    frames = frames[frames.square().mean(1) > 0.1 * frames.square().mean(1).max()]
    frames = frames - frames.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(frames * torch.hann_window(640, dtype=torch.float64), 2048)
    window = torch.fft.irfft(torch.fft.rfft(torch.hann_window(640, dtype=torch.float64), 2048).abs() ** 2)
    correlation = torch.fft.irfft(spectrum.abs() ** 2) / window.clamp(min=1e-3)
    correlation = correlation[:, :260] / correlation[:, :1]
    lags = torch.arange(260)
    allowed = (lags >= SAMPLE_RATE // 400) & (lags <= SAMPLE_RATE // 62)
    masked = torch.where(allowed, correlation, -1.0)
    strong = masked >= 0.9 * masked.max(1, keepdim=True).values
    voiced = masked.max(1).values > 0.5
    return (SAMPLE_RATE / strong[voiced].double().argmax(1)).median().item()


def test_the_same_arguments_give_the_same_samples_whatever_was_said_before():
    first = speak.__wrapped__(SENTENCE, "ada")
    speak.__wrapped__("what a bright river this is", "dan", emotion="angry")
    again = speak.__wrapped__(SENTENCE, "ada")
    assert torch.equal(first.wave, again.wave)
    assert first.phonemes == again.phonemes
    assert first.words == again.words


@pytest.mark.parametrize("voice", VOICES)
def test_phonemes_are_monotone_and_cover_the_sound(voice):
    said = speak(SENTENCE, voice, rate=190)
    assert said.phonemes[0].start == 0
    for before, after in zip(said.phonemes, said.phonemes[1:]):
        assert before.start < before.end == after.start
    assert said.seconds == pytest.approx(len(said.wave) / SAMPLE_RATE, abs=2e-4)
    assert 0.05 < said.wave.abs().max() <= 1


def test_words_stand_in_order_and_hold_their_phonemes():
    said = speak(SENTENCE, "cleo")
    assert [word.text for word in said.words] == SENTENCE.split()
    inside = {w.text: [p.ipa for p in said.phonemes if w.start <= p.start < w.end] for w in said.words}
    assert inside["set"] == ["s", "ɛ", "t"]
    assert inside["p"] == ["p", "iː"]
    assert inside["soon"] == ["s", "uː", "n"]


def test_words_that_espeak_says_as_one_share_its_time():
    said = speak("thank you for the cake", "ada")
    assert [word.text for word in said.words] == ["thank", "you", "for", "the", "cake"]
    assert all(word.start < word.end for word in said.words)
    assert all(a.end == b.start for a, b in zip(said.words, said.words[1:]))


def test_the_letter_a_is_a_letter_before_a_digit_and_an_article_elsewhere():
    letter = speak("bin red at a two now", "adam")
    article = speak("we saw a big dog", "adam")
    sounds = [
        [p.ipa for p in said.phonemes if word.start <= p.start < word.end]
        for said, index in ((letter, 3), (article, 2))
        for word in [said.words[index]]
    ]
    assert sounds[0] == ["eɪ"]
    assert sounds[1] != ["eɪ"]
    assert spoken(["a", "dog"]) == "a dog"


def test_high_voices_are_higher_than_low_ones_in_every_emotion():
    heights = {"high": [], "low": []}
    for name, voice in VOICES.items():
        for emotion in EMOTION_SHIFTS:
            heights[voice.height].append(pitch(speak(SENTENCE, name, rate=180, emotion=emotion).wave))
    assert len(heights["high"]) >= 4 * len(EMOTION_SHIFTS) <= len(heights["low"])
    assert max(heights["low"]) < 140 < 165 < min(heights["high"])


def test_happy_is_higher_and_sad_is_flatter():
    happy, neutral, sad = (pitch(speak(SENTENCE, "eva", emotion=name).wave) for name in ("happy", "neutral", "sad"))
    assert sad < neutral < happy


def test_faster_is_shorter():
    lengths = [speak(SENTENCE, "ben", rate=rate).seconds for rate in (165, 185, 210)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] / lengths[2] > 1.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "ada", 180, "neutral"), "cannot be spoken"),
        (("set [[x]] now", "ada", 180, "neutral"), "cannot be spoken"),
        (("set", "nobody", 180, "neutral"), "the voices are ada"),
        (("set", "ada", 5, "neutral"), "rate 5"),
        (("set", "ada", 180, "bored"), "the emotions are neutral"),
    ],
)
def test_what_cannot_be_spoken_is_refused(arguments, message):
    words, voice, rate, emotion = arguments
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        speak(words, voice, rate=rate, emotion=emotion)


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install phonofilm\[puppets\]"):
        speak("a sentence that nobody said before", "ada")


def tone(hertz: int, rate: int) -> torch.Tensor:
    """One second of a sine; the phase needs float64."""
    return torch.sin(2 * math.pi * hertz * torch.arange(rate, dtype=torch.float64) / rate).float()


@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_resampling_keeps_a_tone(hertz):
    wave = resample(tone(hertz, 22050), 22050, 16000)
    assert len(wave) == 16000
    assert (wave - tone(hertz, 16000))[200:-200].abs().max() < 1e-3


def test_resampling_removes_what_would_alias():
    assert resample(tone(9000, 22050), 22050, 16000)[200:-200].abs().max() < 0.01


def test_lips_shut_for_bilabials_and_open_for_open_vowels():
    for name in VOICES:
        said = speak("my proud farmer opened the map", name)
        for phoneme in said.phonemes:
            middle = torch.tensor([(phoneme.start + phoneme.end) / 2])
            height = opening_curve(said.phonemes, middle).item()
            if phoneme.ipa in CLOSES:
                assert height < 0.1, (name, phoneme)
            if phoneme.ipa in ("ɑː", "æ") and phoneme.end - phoneme.start > 0.09:
                assert height > 0.6, (name, phoneme)


def test_lips_round_for_two_and_spread_for_tea():
    def middle(ipa):
        return width_curve((Phoneme(ipa, 0.0, 0.2),), torch.tensor([0.1])).item()

    assert middle("uː") < 0.1
    assert middle("iː") > 0.85


def test_a_silent_mouth_rests_and_curves_stay_smooth():
    phonemes = (Phoneme("ɑː", 0.5, 0.7),)
    times = torch.linspace(0, 1.2, 1201)
    opening = opening_curve(phonemes, times)
    assert opening[times < 0.44].max() == 0
    assert opening[times > 0.76].max() == 0
    assert opening.diff().abs().max() < 1.1 * 0.001 / SMOOTH
    assert torch.allclose(width_curve((), times), torch.full((1201,), REST[1]))
    assert torch.equal(opening_curve((), times), torch.zeros(1201))


def test_diphthongs_move_and_unknown_sounds_are_named():
    first, second = parts(Phoneme("aɪ", 0.0, 0.2))
    assert first[0] == "a"
    assert second == ("ɪ", 0.1, 0.2)
    assert parts(Phoneme("ɑːɹ", 0.0, 0.3))[0][2] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no mouth shape for '¿'"):
        parts(Phoneme("¿", 0.0, 0.1))
