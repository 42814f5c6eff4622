"""A comparison in miniature: stopped between and inside its jobs, written up, refused on other terms."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from comparing import TERMS, heavy, light, opened, study, unguided, write_place
from extras import needed
from filelock import FileLock
from training import Noise

needed("espeakng_loader", "librosa", "pocketsphinx")

from phonofilm.checkpoints.folder import read_weights
from phonofilm.cli import main
from phonofilm.compare import work
from phonofilm.compare.plan import find_arms, find_study, trained_as
from phonofilm.compare.run import LOCK, compare, losses_of
from phonofilm.compare.work import Machine
from phonofilm.data.cache import write_shard
from phonofilm.errors import UserError
from phonofilm.evaluate import engine
from phonofilm.files.media import read_clip, read_manifest
from phonofilm.generation import jobs
from phonofilm.train import checkpoint, loop
from phonofilm.train.loop import Origin, train
from phonofilm.train.parallel import world

MACHINE = Machine(workers=1, device="cpu")
GUIDED = replace(TERMS, seeds=1, guidance="both")


class Killed(BaseException):
    """The process ends here."""


def after(count, function):
    """A function that ends the process when it has been called so often."""
    calls = []

    def call(*arguments, **named):
        made = function(*arguments, **named)
        calls.append(arguments)
        if len(calls) == count:
            raise Killed
        return made

    return call


def do(comparison, machine=MACHINE, **options):
    with world("cpu") as here:
        return compare(comparison, machine, here, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def done(place, tmp_path_factory):
    """A comparison that was killed inside its second training, inside that one's scoring, and inside its twin's."""
    folder, counts = tmp_path_factory.mktemp("out"), Counter()

    def counted(name, function):
        def call(*arguments, **named):
            counts[name] += 1
            return function(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as always:
        for where, name in ((loop, "advance"), (jobs, "write_clip"), (engine, "measure")):
            always.setattr(where, name, counted(name, getattr(where, name)))
        for where, name, count in ((checkpoint, "save", 3), (engine, "measure", 2), (work, "score", 3)):
            with pytest.MonkeyPatch.context() as once:
                once.setattr(where, name, after(count, getattr(where, name)))
                comparison = opened(place, folder, GUIDED)
                with pytest.raises(Killed):
                    do(comparison)
        write_shard(Noise(), place / "data", 9, 0)  # data that come later are not for this comparison
        assert do(opened(place, folder, GUIDED), page=folder / "copy" / "study.md")
    return folder, counts


def test_nothing_is_done_twice(done):
    _, counts = done
    # The training stopped where a checkpoint had just been written; one measurement was lost; each clip is measured
    # as it is and with the other's sound; the controls are four more.
    assert counts == {"advance": 2 * 4, "write_clip": 3 * 2 * 2, "measure": 2 * 3 * 2 * 2 + 1 + 4}


def test_twins_share_weights_and_no_clips(done):
    folder, _ = done
    assert {path.name for path in (folder / "light-unguided" / "seed-0").iterdir()} == {
        f"guidance-{way}{end}" for way in ("on", "off") for end in ("", "-outcomes.jsonl")
    }
    places = ("light-mouth/seed-0/guidance-on", "light-mouth/seed-0/guidance-off", "light-unguided/seed-0/guidance-on")
    clips = [next((folder / place).glob("*.mp4")) for place in places]
    on, off, twin = [read_manifest(clip) for clip in clips]
    assert twin == off | {"model": "light, unguided, seed 0", "recipe": "comparing:unguided"}
    assert (twin["weights"], twin["guidance"]) == (on["weights"], [])
    guided, plain, own = [read_clip(clip).video for clip in clips]
    assert torch.equal(own, plain)
    assert not torch.equal(own, guided)


def test_comparisons_share_trainings(place, tmp_path, monkeypatch):
    """What one comparison has trained another finds, under whatever name; what is trained otherwise is not it."""
    steps = Counter()
    monkeypatch.setattr(loop, "advance", lambda *given, made=loop.advance: steps.update("x") or made(*given))
    terms = replace(TERMS, seeds=1)
    for name, arms in {"one": {"a": light(), "b": heavy()}, "two": {"c": heavy(), "d": unguided()}}.items():
        renamed = {label: replace(recipe, name=f"comparing:{name}") for label, recipe in arms.items()}
        assert do(opened(place, tmp_path / name, terms, renamed, tmp_path / "trainings"))
    assert steps["x"] == 2 * 4
    trained = list((tmp_path / "trainings").iterdir())
    assert len(trained) == 2
    assert all(path.name.startswith("JoVA-") for path in trained)
    longer = opened(place, tmp_path / "three", replace(terms, amount=32), {"a": light(), "b": heavy()}, tmp_path)
    assert not {job.training.name for job in longer.jobs} & {path.name for path in trained}
    clips = [tmp_path / where / "seed-0" / "guidance-on" for where in ("one/a", "two/d", "one/b", "two/c")]
    weights = [read_manifest(next(folder.glob("*.mp4")))["weights"] for folder in clips]
    assert weights[0] == weights[1] != weights[2] == weights[3]


def test_a_training_that_another_process_has_is_left_to_it(place, tmp_path, capsys):
    comparison = opened(place, tmp_path / "out", replace(TERMS, seeds=1), {"a": light(), "b": heavy()})
    busy = comparison.jobs[0]
    busy.training.mkdir(parents=True)
    with FileLock(busy.training / LOCK):
        assert not do(comparison)
    assert [work.is_done(comparison, job) for job in comparison.jobs] == [False, True]
    assert "1 of 2 jobs are still to be done" in capsys.readouterr().out
    assert do(comparison)
    more = opened(place, tmp_path / "out", TERMS, {"a": light(), "b": heavy()})
    assert [work.is_done(more, job) for job in more.jobs] == [True, True, False, False]


def test_a_stopped_job_ends_where_it_would_have(place, done, tmp_path):
    folder, _ = done
    recipe = light()
    settings = replace(recipe.train, steps=4, seed=0)
    whole = train(
        replace(recipe, train=settings), opened(place, folder, GUIDED).data, tmp_path, origin=Origin(device="cpu")
    )
    kept = read_weights(folder / "light-mouth" / "seed-0" / "model")
    assert kept.keys() == whole.keys()
    assert all(torch.equal(kept[name], whole[name]) for name in whole)
    cost = json.loads((folder / "light-mouth" / "seed-0" / "cost.json").read_text())
    assert (cost["steps"], cost["samples"]) == (4, 16)
    half, end = (checkpoint.position_of(folder / "light-mouth/seed-0" / f"step-0000000{k}").seconds for k in (2, 4))
    assert 0 < half < end == pytest.approx(cost["seconds"], abs=1e-3)


def test_the_page(done):
    folder, _ = done
    page, report = (folder / "report.md").read_text(), json.loads((folder / "report.json").read_text())
    for words in (
        "A heavier mouth lets balls",
        "nobody claims it",
        "heavy mouth, shuffled",
        "off minus on",
        "16 samples",
        "shared: that of light mouth",
    ):
        assert words in page
    assert report["outcome"] == report["verdicts"][0]["outcome"] == "not decided at this budget"
    truth = next(r for r in report["figures"] if (r["system"], r["metric"]) == ("ground truth", "exact.event_f1@80ms"))
    assert truth["value"] == 1.0
    assert {r["system"] for r in report["differences"]} == {"light mouth", "light, unguided"}
    assert report["trained_as"]["light, unguided"] == "light mouth"
    assert report["cost"]["light, unguided"] == report["cost"]["light mouth"] != report["cost"]["heavy mouth"]
    whole = (folder / "report.html").read_text()
    assert whole.count("data:video/mp4;base64,") == 6  # one prompt, three arms, with and without guidance
    assert whole.count("<polyline") == 2 * len(report["losses"]["light mouth"][0])  # a line for each training
    assert ">light mouth, light, unguided</text>" in whole
    assert "could not be read:" not in whole
    copy = (folder / "copy" / "study.md").read_text()
    assert copy.splitlines()[0] == "# Study: heavy_mouth"
    assert "(study-loss-video.svg)" in copy
    assert (folder / "copy" / "study-loss-video.svg").read_text().startswith("<svg")


def test_guidance_off_is_another_clip(done):
    folder, _ = done
    clips = [next((folder / "heavy-mouth" / "seed-0" / f"guidance-{way}").glob("*.mp4")) for way in ("on", "off")]
    manifests = [read_manifest(clip) for clip in clips]
    assert [len(manifest["guidance"]) for manifest in manifests] == [1, 0]
    assert manifests[0] | {"guidance": []} == manifests[1]


def test_all_done_means_a_new_page_alone(place, done, monkeypatch):
    folder, _ = done
    (folder / "report.md").unlink()
    for name in ("run_job", "pipeline_of"):
        monkeypatch.setattr(work, name, None)
    assert do(opened(place, folder, GUIDED))
    assert (folder / "report.md").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": 48}, "terms.amount 16, now 48"),
        ({"prompts": {"ball": 3}}, "terms.prompts.ball 2, now 3"),
        ({"guidance": "on"}, 'terms.guidance "both", now "on"'),
    ],
)
def test_other_terms_are_refused_by_name(place, done, change, message):
    with pytest.raises(UserError, match=message):
        opened(place, done[0], replace(GUIDED, **change))


def test_another_recipe_is_refused_by_name(place, done):
    arms = {label: recipe() for label, recipe in study().arms.items()}
    changed = replace(light(), optim=replace(light().optim, lr=0.5))
    with pytest.raises(UserError, match="arms.light mouth.optim.lr 0.01, now 0.5"):
        opened(place, done[0], GUIDED, arms | {"light mouth": changed})


def test_arms_that_differ_in_sampling_alone_are_trained_once():
    recipe = light()
    arms = {
        "first": recipe,
        "fewer steps": replace(recipe, name="a", sampling=replace(recipe.sampling, steps=1)),
        "other": heavy(),
        "other, unguided": replace(heavy(), guidance=()),
        "rate": replace(recipe, optim=replace(recipe.optim, lr=0.5)),
    }
    shared = ["first", "first", "other", "other", "rate"]
    assert trained_as(arms) == dict(zip(arms, shared, strict=True))


def test_unequal_arms_are_refused(place, tmp_path):
    model = light().model
    wide = replace(light(), model=replace(model, video=replace(model.video, mlp=128)))
    with pytest.raises(UserError, match=r"heavy 0\.0\d+ M, wide 0\.\d+ M parameters; \d+\.\d% apart, 5\.0% is allowed"):
        opened(place, tmp_path, arms={"heavy": heavy(), "wide": wide})
    assert opened(place, tmp_path / "free", replace(TERMS, tolerance=9.0), {"heavy": heavy(), "wide": wide}).sizes
    other = replace(light(), train=replace(light().train, batch=6))
    with pytest.raises(UserError, match=r"batches differ \(heavy 4, other 6\): .* --batch"):
        opened(place, tmp_path, arms={"heavy": heavy(), "other": other})
    with pytest.raises(UserError, match="26 is no whole number of steps of 4 samples; 24 is"):
        opened(place, tmp_path, replace(TERMS, amount=26))
    with pytest.raises(UserError, match="--amount None"):
        opened(place, tmp_path, replace(TERMS, budget="minutes", amount=None))
    assert not list(tmp_path.glob("*.json"))


def test_prompts_that_suit_nobody_are_refused(place, tmp_path):
    with pytest.raises(UserError, match="'heavy_mouth' is about exact.event_f1@80ms, of the group ball: name it"):
        opened(place, tmp_path, replace(TERMS, prompts={"grid": 2}))
    with pytest.raises(UserError, match=r"comparing:heavy was not trained for t2av\+voice"):
        opened(place, tmp_path, replace(TERMS, prompts={"ball": 2, "voice": 1}))


def test_a_part_does_its_jobs_and_leaves_the_page_to_others(place, tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(work, "run_job", lambda comparison, job, *rest: seen.append((job.arm, job.seed)))
    assert not do(opened(place, tmp_path), replace(MACHINE, part=(1, 2)))
    assert seen == [(arm, seed) for seed in (0, 1) for arm in ("light mouth", "light, unguided")]
    assert "job 6 of 6: light, unguided, seed 1" in (out := capsys.readouterr().out)
    assert "6 of 6 jobs are still to be done" in out


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_training_is_in_one_part(place, tmp_path, count):
    comparison = opened(place, tmp_path)
    parts = [comparison.part(index, count) for index in range(count)]
    assert sorted(job.folder for part in parts for job in part) == sorted(job.folder for job in comparison.jobs)
    trainings = [{job.training for job in part} for part in parts]
    assert sum(map(len, trainings)) == len(set().union(*trainings)) == 4


def test_minutes_are_timed_once_and_kept(place, tmp_path, monkeypatch):
    comparison = opened(place, tmp_path, replace(TERMS, budget="minutes", amount=1.0))
    monkeypatch.setattr(work, "COLD", 1)
    monkeypatch.setattr(work, "WARM", 1)
    with world("cpu") as here:
        steps = work.decide_steps(comparison, comparison.jobs[0], light(), here)
        pace = json.loads((comparison.jobs[0].training / work.PACE).read_text())
        monkeypatch.setattr(work, "pace", None)
        assert work.decide_steps(comparison, comparison.jobs[0], light(), here) == steps
    assert steps == round(60 / pace["seconds_per_step"]) > 1


def test_arms_come_by_name():
    claim = find_study("comparing:study")
    assert list(find_arms("", claim)) == ["heavy mouth", "light mouth", "light, unguided"]
    assert list(find_arms("jova_study, comparing:light", None)) == ["jova_study", "comparing:light"]
    for arguments, message in (
        (("jova_study", None), "at least two arms"),
        (("jova_study,jova_study", None), "different names"),
        (("jova_study", claim), "either --recipes a,b or a --study"),
        (("", replace(claim, figure="exact.beauty")), "'exact.beauty'; known are offline.wer_grid"),
    ):
        with pytest.raises(UserError, match=message):
            find_arms(*arguments)
    with pytest.raises(UserError, match="unknown study 'nobody'"):
        find_study("nobody")
    with pytest.raises(UserError, match="comparing has no function 'nothing'"):
        find_study("comparing:nothing")


def test_losses_done_again_count_once(tmp_path):
    log = tmp_path / "log.jsonl"
    rows = [
        {"step": 20, "loss/video": 3.0},
        {"step": 40, "loss/video": 9.0},
        {"step": 40, "loss/video": 2.0, "rate": 1},
    ]
    log.write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 60, "loss/vi')
    assert losses_of(log) == {"video": [(20, 3.0), (40, 2.0)]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part", "2/2"], "--part 2/2"),
        (["--prompts", "grid"], "grid=24,talk=16"),
        (["--seeds", "0"], "--seeds 0"),
        ([], "either --recipes a,b or a --study"),
    ],
)
def test_the_command_refuses_in_a_line(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["compare", "--out", str(tmp_path), "--data", "none", "--codecs", "none", *words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
