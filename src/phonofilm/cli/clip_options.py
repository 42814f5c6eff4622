"""One clip as people ask for it, in flags or in a line of a prompts file, and the request behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from phonofilm.cli.arguments import check_number
from phonofilm.errors import UserError, unknown

if TYPE_CHECKING:
    from phonofilm.types import Audio, Clip, Prompt, Request

PathArgument = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="TEXT")]
LONGEST, PIXELS = 600, 1280 * 720
"""Seconds of a clip, and of what is read of given files; pixels to which larger given pictures are scaled down."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """One clip as people ask for it: the words of a flag, or of a line in a prompts file."""

    scene: str = ""
    """What to show: "a woman with red hair, pale skin, blue background"."""
    say: Repeated = ()
    """What is said: "set white with p two soon". With several speakers one --say each: "left: set white now". One word
    before the first colon, in any script, is the speaker's name; where it is to be said, begin with a colon."""
    sound: str = ""
    """What to hear beside the words: "a high voice", "a bouncing ball"."""
    negative: str = ""
    """What neither to show nor to hear."""
    prompt: str = ""
    """Scene and speech in one line, in which quoted words are the speech, in the quotes of any language or <S> <E>."""
    image: PathArgument = None
    """A portrait to bring to life; PNG, JPEG, WebP, BMP, GIF, TIFF or PNM."""
    audio: PathArgument = None
    """Sound to make pictures for; any file with sound in it."""
    video: PathArgument = None
    """Pictures to make sound for; a sound of their own is not used."""
    continue_: Annotated[Path | None, tyro.conf.arg(metavar="PATH", name="continue")] = None
    """A clip to go on from: the result begins with it."""
    clip: PathArgument = None
    """A clip of which --retake names a part to make anew."""
    retake: Annotated[str, tyro.conf.arg(metavar="START:END")] = ""
    """The part of --clip to make anew, in seconds: 0.5:1.2."""
    voice: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="[NAME=]PATH")] = ()
    """A recording of the voice to speak with; with several speakers one --voice each: left=voice.wav."""
    only: Annotated[str, tyro.conf.arg(metavar="video|audio")] = ""
    """"video" for a clip without sound, "audio" for sound alone, written as wav."""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Length of the clip; that of what is given, or the model's own, if not given."""
    seed: int = 0
    """The same seed on the same machine gives the same clip."""

    @property
    def suffix(self) -> str:
        """How the name of its file ends."""
        return ".wav" if self.only == "audio" else ".mp4"


KEYS = {f.name.rstrip("_"): f for f in fields(ClipOptions)}
"""Keys of a line in a prompts file, which are the flags' names."""
PATHS = ("image", "audio", "video", "continue", "clip")
LISTS = ("say", "voice")
NUMBERS: dict[str, tuple[type, ...]] = {"seconds": (float, int), "seed": (int,)}


def options_of(row: dict[str, Any]) -> ClipOptions:
    """The options in one line of a prompts file; raises ``UserError`` for unknown keys and values of a wrong kind."""
    values = {}
    for key, value in row.items():
        if key not in KEYS:
            raise unknown("key", key, [*KEYS, "name"])
        values[KEYS[key].name] = _value(key, value)
    return ClipOptions(**values)


def _value(key: str, value: Any) -> Any:
    """A JSON value as its field holds it."""
    if value is None and KEYS[key].default is None:
        return None
    if key in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, NUMBERS[key]):
            raise UserError(f"{key} {value!r}: a number is wanted")
        return NUMBERS[key][0](value)
    if key in LISTS and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if not isinstance(value, str):
        raise UserError(f"{key} {value!r}: text {'or a list of texts ' if key in LISTS else ''}is wanted")
    return Path(value) if key in PATHS else (value,) if key in LISTS else value


def check_apart(options: ClipOptions, out: Path) -> None:
    """Refuse to write over what is given."""
    for key in PATHS:
        path = getattr(options, KEYS[key].name)
        if path is not None and os.path.realpath(path) == os.path.realpath(out):  # where links go round, too
            raise UserError(f"--{key} {path} would be overwritten by the result: name another place with --out")


def request_of(options: ClipOptions) -> Request:
    """The request behind the words; raises ``UserError`` for what no model could do."""
    check_number("seconds", options.seconds, low=0.01, high=LONGEST)
    check_number("seed", options.seed, low=0, high=2**63 - 1)
    prompt, retake = prompt_of(options), retake_of(options)
    from phonofilm.files.media import read_image
    from phonofilm.generation.request import check_request
    from phonofilm.types import Request

    clip = options.clip or options.continue_
    request = Request(
        prompt=prompt,
        seconds=options.seconds,
        seed=options.seed,
        image=None if options.image is None else read_image(options.image),
        video=None if options.video is None else _read_clip(options.video),
        audio=None if options.audio is None else _read_audio(options.audio),
        clip=None if clip is None else _read_clip(clip),
        retake=retake,
        voice=tuple(_read_voice(text) for text in options.voice),
        only=options.only,
    )
    check_request(request)
    return request


def retake_of(options: ClipOptions) -> tuple[float, float] | None:
    """The part to make anew; raises ``UserError`` for a retake without a clip and for a clip without a retake."""
    if options.clip is not None and options.continue_ is not None:
        raise UserError("--continue goes on from a clip, --clip with --retake makes a part of one anew: give one")
    if not options.retake:
        if options.clip is not None:
            raise UserError("--clip needs --retake START:END, the part to make anew; --continue goes on from a clip")
        return None
    if options.clip is None:
        raise UserError(f"--retake {options.retake} names a part of a clip: give the clip with --clip")
    try:
        start, end = (float(part) for part in options.retake.split(":"))
    except ValueError as error:
        raise UserError(f"--retake {options.retake!r}: START:END in seconds is wanted, such as 0.5:1.2") from error
    return start, end


def _read_clip(path: Path) -> Clip:
    """A clip with each pixel frame at its own time, so that the model's frames are picked from what was stored."""
    from phonofilm.files.media import Limits, read_clip

    return read_clip(path, limits=Limits(seconds=LONGEST, pixels=PIXELS), even=False)


def _read_audio(path: Path) -> Audio:
    from phonofilm.files.media import Limits, read_wave
    from phonofilm.types import Audio

    return Audio(*read_wave(path, limits=Limits(seconds=LONGEST)))


def _read_voice(text: str) -> tuple[str, Audio]:
    from phonofilm.generation.prompts import voice_of

    who, path = voice_of(text)
    return who, _read_audio(Path(path))


def prompt_of(options: ClipOptions) -> Prompt:
    """The prompt of separate fields or of one line."""
    said = any(line.strip() for line in options.say)
    if options.prompt.strip():
        if options.scene or said:
            raise UserError("--prompt holds scene and speech in one line; give it or --scene and --say, not both")
        from phonofilm.generation.prompts import prompt_of_line

        prompt = prompt_of_line(options.prompt, sound=options.sound, negative=options.negative)
    else:
        from phonofilm.generation.prompts import speech_of
        from phonofilm.types import Prompt

        speech = speech_of(options.say)
        prompt = Prompt(
            scene=options.scene.strip(), sound=options.sound.strip(), speech=speech, negative=options.negative
        )
    given = options.audio or options.video or options.continue_ or options.clip
    if not (prompt.scene or prompt.speech or prompt.sound or given):
        raise UserError('nothing to make: the prompt is empty; say what to show, --scene "a woman with red hair"')
    return prompt
