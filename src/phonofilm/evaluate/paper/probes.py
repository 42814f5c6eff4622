"""What of the papers' figures runs here: adapters shown to match their reference, and why the others do not run."""

from __future__ import annotations

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import Found, Measure, Probe, Unmeasured
from phonofilm.files.resample import resample
from phonofilm.types import Clip

PREPARATION = "the whole picture taken as the face crop, 25 per second, 224 x 224 bilinear, no JPEG; 16 kHz mono"
EVALUATOR = "SyncNet v2 with the user's checkpoint, arithmetic of syncnet_python 6efbb1c"
LSE_C = Measure(
    name="paper.lse_c@lrs",
    title="LSE-C, the file taken as the face crop (Wav2Lip's LRS variant); blind to a constant delay",
    better="up",
    unit="confidence",
    evaluator=EVALUATOR,
    package="torch",
    preparation=PREPARATION,
)
LSE_D = Measure(
    name="paper.lse_d@lrs",
    title="LSE-D, the file taken as the face crop; blind to a constant delay",
    better="down",
    unit="distance",
    evaluator=EVALUATOR,
    package="torch",
    preparation=PREPARATION,
)
OFFSET = Measure(
    name="paper.sync_offset@lrs",
    title="the delay to which LSE-C and LSE-D are blind",
    better="zero",
    unit="ms, positive: sound late",
    how="median",
    evaluator=EVALUATOR,
    package="torch",
    preparation=PREPARATION,
)


def _read(entry: Entry, clip: Clip) -> Found:
    from phonofilm.evaluate.paper.mfcc import SAMPLE_RATE
    from phonofilm.evaluate.paper.syncnet import as_crop, load_syncnet, score_crop

    if clip.audio.shape[-1] == 0:
        raise Unmeasured("no sound")
    wave = resample(clip.audio.mean(0), clip.sample_rate, SAMPLE_RATE)
    net = load_syncnet(entry.weights["syncnet"])
    try:
        score = score_crop(net, as_crop(clip.video, clip.fps), wave)
    except ValueError as error:
        raise Unmeasured(str(error)) from error
    values = {LSE_C.name: score.confidence, LSE_D.name: score.distance, OFFSET.name: 1000 * score.sound_late}
    return Found(values={name: (value, 1.0) for name, value in values.items()})


SYNC = Probe("sync", (LSE_C, LSE_D, OFFSET), lambda entry: True, _read, weights="syncnet")
"""Runs with ``--weights syncnet=PATH``."""
_FACES = "has no adapter yet: its face detector is not shown to match here; paper.lse_c@lrs takes ready crops, and"
_NO = "has no adapter yet: no network of ours is shown to give the reference's numbers for the same weights;"
REFUSED: dict[str, str] = {
    "paper.lse_c@mova": f"{_FACES} evaluate.paper.sync.mova has its arithmetic",
    "paper.lse_c@verse_bench": f"{_FACES} evaluate.paper.sync.verse_bench has its arithmetic",
    "paper.lse_d@mova": f"{_FACES} evaluate.paper.sync.mova has its arithmetic",
    "paper.wer@verse_bench": "has no adapter: it hears with SenseVoice-Small, which no dependency runs; "
    "paper.wer@seed_tts_en hears with Whisper",
    "paper.wer@seed_tts_zh": "has no adapter: it hears with Paraformer, which no dependency runs; "
    "paper.wer@seed_tts_en hears English with Whisper",
    "paper.av_a@verse_bench": f"{_NO} evaluate.paper.desync.verse_bench_av_a has its arithmetic",
    "paper.desync@24-01-04T16-39-21": f"{_NO} evaluate.paper.desync has its arithmetic",
    "paper.fd@passt": f"{_NO} evaluate.paper.frechet has its arithmetic",
    "paper.fd@panns": f"{_NO} evaluate.paper.frechet has its arithmetic",
    "paper.fd@vggish": f"{_NO} evaluate.paper.frechet has its arithmetic",
    "paper.kl@passt": f"{_NO} evaluate.paper.classes has its arithmetic",
    "paper.is@panns16k": f"{_NO} evaluate.paper.classes has its arithmetic",
    "paper.clap@630k-audioset-fusion": f"{_NO} paper.clap@javisbench runs transformers' CLAP",
    "paper.vb_fd_2m2cos": f"{_NO} evaluate.paper.frechet.verse_bench_fd has its arithmetic",
    "paper.ib@imagebind_huge": f"{_NO} its weights are for non-commercial use only",
    "paper.cpwer": "has no adapter: it needs transcripts with speakers, and no recogniser here gives them; "
    "evaluate.paper.speakers has its arithmetic",
    "paper.cpcer": "has no adapter yet: MOVA's transcripts come from a remote service; evaluate.paper.speakers has "
    "its arithmetic",
}
"""Figures without an adapter, and why; asking for one by name gives this."""
