"""The words of any clip whose lines are known: recognised among the lines of the folder, and aligned in time.

PocketSphinx with its default language model is no use on generated speech (0.75 to 1.0 of the words wrong on clean
espeak-ng). With a closed grammar it tells which of the lines asked for was said.
"""

from __future__ import annotations

import re
from functools import lru_cache

from jaxtyping import Float
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import AUDIO, Examined, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.probes.puppets import ESPEAK
from phonofilm.evaluate.readers import speech

CHOICES = 20
"""Lines among which a clip's own is recognised, at most: the same in a small folder and a large one."""
PREPARATION = "16 kHz mono, 0.3 s of zeros at both ends, then seeded white noise 60 dB below the peak"
EVALUATOR = "pocketsphinx with a JSGF grammar of the puppets, jiwer"


def _words_asked(entry: Entry) -> float:
    return float(len(speech.words(" ".join(entry.lines))))


WER = Measure(
    name="offline.wer_jsgf",
    title="closed-grammar WER: the grammar that the truth names",
    better="down",
    unit="wrong words per word said",
    how="ratio",
    worst=1.0,
    weight=_words_asked,
    evaluator=EVALUATOR,
    package="pocketsphinx",
    preparation=PREPARATION,
    reads=AUDIO,
)
LINE = Measure(
    name="offline.wer_lines",
    title=f"closed-grammar WER: the line asked for among up to {CHOICES} lines of the folder",
    better="down",
    unit="wrong words per word asked for",
    how="ratio",
    worst=1.0,
    weight=_words_asked,
    evaluator="pocketsphinx with a grammar of whole lines, jiwer",
    package="pocketsphinx",
    preparation=PREPARATION,
    reads=AUDIO,
)
ALIGNED = Measure(
    name="offline.words_aligned",
    title="clips through whose sound the recogniser finds a way that says the words asked for",
    better="up",
    unit="share",
    worst=0.0,
    evaluator="pocketsphinx, forced alignment",
    package="pocketsphinx",
    preparation=PREPARATION,
    reads=AUDIO,
)
WORD_ERROR = Measure(
    name="offline.word_time_err_ms",
    title="mean absolute error of the words' starts against the truth's",
    better="down",
    unit="ms, median over clips",
    how="median",
    evaluator="pocketsphinx, forced alignment",
    package="pocketsphinx",
    preparation=PREPARATION,
    reads=AUDIO,
)


def _has_grammar(entry: Entry) -> bool:
    return entry.truth is not None and entry.truth.grammar in ("grid", "talk") and len(entry.truth.said) == 1


def _words(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets import grammars

    assert entry.truth is not None
    grammar = grammars.jsgf(grammars.GRAMMARS[entry.truth.grammar])
    return _compared(WER, entry.truth.said[0], clip, grammar)


def _compared(measure: Measure, said: str, clip: Examined, grammar: str) -> Found:
    """Wrong words and words said; in silence every word is missing, which is a measurement."""
    heard = "" if clip.silent else speech.recognise(clip.mono, speech.SAMPLE_RATE, grammar)
    wrong, count = speech.word_errors(said, heard)
    return Found(values={measure.name: (float(wrong), float(count))}, observed={"said": said, "heard": heard})


def _among(entry: Entry, clip: Examined) -> Found:
    """The line asked for, recognised among lines of other clips: how many decides how hard it is."""
    own = " ".join(speech.words(" ".join(entry.lines)))
    _refuse_unknown(own)
    decoder = _aligner()
    others = [line for line in entry.others if all(decoder.lookup_word(w) is not None for w in line.split())]
    lines = sorted({own, *others})
    if len(lines) < 2:
        raise Unmeasured("there is no other line to tell it from")
    grammar = "#JSGF V1.0;\ngrammar lines;\npublic <line> = " + " | ".join(lines) + ";\n"
    return _compared(LINE, own, clip, grammar)


def _refuse_unknown(text: str) -> None:
    decoder = _aligner()
    strange = [word for word in text.split() if decoder.lookup_word(word) is None]
    if strange or not text:
        raise Unmeasured(f"not in the recogniser's dictionary: {', '.join(strange) or 'no words at all'}")


def _align(entry: Entry, clip: Examined) -> Found:
    found = align_words(clip.wave, " ".join(entry.lines))
    return Found(values={ALIGNED.name: (float(found is not None), 1.0)})


def _time(entry: Entry, clip: Examined) -> Found:
    assert entry.truth is not None
    true = entry.truth.words
    found = align_words(clip.wave, " ".join(word for word, _, _ in true))
    if found is None or len(found) != len(true):
        raise Unmeasured("the recogniser finds no way through the sound that says the words")
    apart = [abs(one[1] - two[1]) for one, two in zip(found, true, strict=True)]
    return Found(values={WORD_ERROR.name: (1000 * sum(apart) / len(apart), 1.0)})


def _timed(entry: Entry) -> bool:
    return entry.truth is not None and bool(entry.truth.words)


def align_words(wave: Float[Tensor, "1 N"], text: str) -> tuple[tuple[str, float, float], ...] | None:
    """Words with their starts and ends in seconds, None where the recogniser finds no way through the sound.

    Raises ``Unmeasured`` for a word that its dictionary lacks.
    """
    said = speech.words(text)
    _refuse_unknown(" ".join(said))
    decoder = _aligner()
    decoder.set_align_text(" ".join(said))
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(speech.prepare(wave, speech.SAMPLE_RATE), full_utt=True)
    decoder.end_utt()
    rate = decoder.config["frate"]
    found = decoder.seg()
    spans = [(s.word, s.start_frame / rate, (s.end_frame + 1) / rate) for s in found] if found else []
    spoken = [span for span in spans if not re.fullmatch(r"<.*>|\[.*\]|\+\+.*\+\+|NULL", span[0])]
    if len(spoken) != len(said):
        return None
    return tuple((re.sub(r"\(\d+\)$", "", w), a - speech.PADDING, b - speech.PADDING) for w, a, b in spoken)


@lru_cache(maxsize=1)
def _aligner():  # noqa: ANN202
    from pocketsphinx import Decoder

    return Decoder(lm=None, loglevel="FATAL")


MODULES = ("pocketsphinx", "jiwer")
WORDS = Probe("words", (WER,), _has_grammar, _words, (*MODULES, "espeakng_loader"), ESPEAK)
LINES = Probe("lines", (LINE,), lambda e: bool(e.lines) and not _has_grammar(e), _among, MODULES, ESPEAK)
ALIGN = Probe("align", (ALIGNED,), lambda e: bool(e.lines), _align, MODULES, ESPEAK)
WORD_TIMES = Probe("word_times", (WORD_ERROR,), _timed, _time, MODULES, ESPEAK)
