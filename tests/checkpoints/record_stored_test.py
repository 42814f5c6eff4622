"""Stored records: of model folders in both formats, of runs that go on, and damaged ones."""

import contextlib
import json
import random
from dataclasses import asdict, replace

import pytest
from models import every_task, write_model
from training import tiny

from phonofilm.checkpoints.folder import RECORD, UNREAD, check_recipe, load_checkpoint, numbers, read_experiment
from phonofilm.data.stills import Stills
from phonofilm.diffusion.flow import LogitNormal, Uniform
from phonofilm.diffusion.guidance import Swap
from phonofilm.diffusion.sampling import Sampling
from phonofilm.errors import UserError
from phonofilm.generation.pipeline import SHIPPED, load
from phonofilm.recipes.experiment import Dropout, as_it_is
from phonofilm.recipes.record import record
from phonofilm.train.loop import RUN, claim

pytestmark = pytest.mark.quick

RECIPE = "models:every_task"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model's folder; tests put other files in the place of its own and leave it as it was."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, RECIPE)
    return folder


@pytest.fixture
def model(written):
    kept = {path: path.read_bytes() for path in written.rglob("*.json")}
    yield written
    for path, content in kept.items():
        path.write_bytes(content)


def changed(folder, change, file=RECORD):
    """Write another content in place of a file's."""
    path = folder / file
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def put(name, value):
    """A change that puts a value at a dotted name; ``...`` takes away what is there."""

    def change(content):
        *way, last = [int(p) if p.isdigit() else p for p in name.split(".")] if isinstance(name, str) else name
        for part in way:
            content = content[part]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return change


def test_a_folder_says_all_that_its_recipe_is(model):
    content = read_experiment(model)
    assert (content["format"], content["recipe"]) == (2, RECIPE)
    assert content["experiment"] == json.loads(json.dumps(record(every_task())))
    assert {"clock", "patch", "guidance", "sampling"} < content["experiment"].keys()
    config = json.loads((model / "transformer/config.json").read_text())
    assert config["_class_name"] == "JoVA"
    assert config["num_dual"] == 1
    assert load_checkpoint(model, recipe=RECIPE).experiment == every_task()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model.num_dual", 2, "model.num_dual 2, now 1"),
        ("model.is", "Ovi", "model Ovi, now JoVA"),
        ("model.video.rope.theta", ..., "model.video.rope.theta nothing, now 10000.0"),
        ("model.video.swing", 3, "model.video.swing 3, now nothing"),
        ("clock.is", "IndexClock", "clock IndexClock, now CentreClock"),
        ("patch.1", 1, "patch.1 1, now 2"),
        ("guidance.0.video_scale", 2.0, "guidance.0.video_scale 2.0, now 2.5"),
        ("sampling.sampler.name", "heun", "sampling.sampler function heun, now function euler"),
        ("sampling.steps", True, "sampling.steps true, now 2"),
        ("encoders.scene.accepted.of", [], 'encoders.scene.accepted.of.0 nothing, now " "'),
        ("tasks.1.0.name", "i2v", 'tasks.1.0.name "i2v", now "i2av"'),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_by_name(model, name, value, said):
    changed(model, put(f"experiment.{name}", value))
    with pytest.raises(UserError) as refused:
        load_checkpoint(model, recipe=RECIPE)
    assert str(refused.value) == (
        f"{model} was made with another recipe than 'models:every_task' is: {said}; name its own with --recipe"
    )


@pytest.mark.parametrize("name", ["optim.lr", "train.steps", "losses", "density.is", "data", "video_codec", "name"])
def test_what_generation_does_not_read_may_differ(model, name):
    changed(model, put(f"experiment.{name}", "other"))
    assert load_checkpoint(model, recipe=RECIPE).experiment == every_task()


def to_format_1(content):
    del content["experiment"]
    content |= {"format": 1, "model": numbers(every_task())}


def test_folders_of_format_1_are_read_by_the_numbers_that_they_hold(model):
    path = changed(model, to_format_1)
    assert load_checkpoint(model, recipe=RECIPE).experiment == every_task()
    changed(model, put("model.video.width", 64))
    with pytest.raises(UserError, match="model.video.width 64, now 32; name its own with --recipe"):
        load_checkpoint(model, recipe=RECIPE)
    path.write_text("{}")


@pytest.mark.parametrize("unknown", [0, 3, 99])
def test_other_formats_are_refused(model, unknown):
    changed(model, put("format", unknown))
    with pytest.raises(UserError, match=f"experiment.json has format {unknown}, this phonofilm reads 1 and 2: update"):
        load_checkpoint(model, recipe=RECIPE)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("format", ..., "has no 'format'; wanted is a whole number"),
        ("format", "2", 'format is "2", wanted is a whole number'),
        ("format", True, "format is true, wanted is a whole number"),
        ("recipe", 7, "recipe is 7, wanted is text"),
        ("version", None, "version is null, wanted is text"),
        ("experiment", ..., "has no 'experiment'; wanted is an object"),
        ("experiment", [1], r"experiment is \[1\], wanted is an object"),
        ("training", "none", 'training is "none", wanted is an object'),
        ("training.num_frames", 49, "training.num_frames is 49, wanted is a list of a whole number each"),
        ("training.num_frames", [49, 1.5], "training.num_frames.1 is 1.5, wanted is a whole number"),
        ("training.num_frames", [10**9], r"training.num_frames is \[1000000000\]; accepted is from 1 to 1000000"),
        ("training.num_frames", [0], r"training.num_frames is \[0\]; accepted is from 1"),
        ("training.letters_per_second", [1, 2], r"letters_per_second is \[1, 2\], wanted is a list of 3 values"),
        ("training.letters_per_second", [1, 2, -3], r"letters_per_second is \[1, 2, -3\]; accepted is from 0 to 1000"),
        ("training.letters_per_second", [1, 2, 1e300], "letters_per_second.2 is 1e.300, wanted is a number"),
        ("training.words", ["a", 3], "training.words.1 is 3, wanted is text"),
        ("training.notes", {"steps": [3]}, r"training.notes.steps is \[3\], wanted is text or a whole number or a num"),
        ("training.metrics", {"wer": "low"}, 'training.metrics.wer is "low", wanted is a number'),
        ("training.mood", 1, "has unknown entries under training: mood"),
    ],
)
def test_wrong_values_are_named_with_their_file(model, name, value, said):
    path = changed(model, put(name, value))
    with pytest.raises(UserError, match=said) as refused:
        load(str(model), recipe=RECIPE)
    assert str(refused.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[]", r"holds \[\], wanted is an object"),
        (b"null", "holds null"),
        (b'{"format": NaN}', "NaN is no number"),
        (b'{"format": ' + b"1" * 5000 + b"}", "is not JSON"),
        (b'{"format": 1e999}', "format is Infinity, wanted is a whole number"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_object_is_refused(model, content, said):
    (model / RECORD).write_bytes(content)
    with pytest.raises(UserError, match=said):
        load(str(model), recipe=RECIPE)


def test_the_shipped_model_fits_its_recipe():
    assert load_checkpoint(SHIPPED / "pocket").experiment.name == "jova_pocket"


ODD = (None, True, -1, 0, 10**9, 1e300, "x", [], {}, [[]], {"is": 1}, ...)
"""Values in place of a true one; the last is none at all."""


def ways_in(value, *way):
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*way, key)
        yield from ways_in(part, *way, key)


def test_damaged_records_are_refused_or_do_no_harm(model):
    chance, path, kept, experiment = random.Random(0), model / RECORD, [], every_task()
    content = json.loads(path.read_text())
    for way in chance.sample([way for way in ways_in(content) if "accepted" not in way], 100):
        changed(model, put(way, chance.choice(ODD)))
        try:
            check(model, experiment)
        except UserError:
            pass
        else:
            kept.append(way)
        path.write_text(json.dumps(content))
    harmless = {*UNREAD, "metrics", "notes", "recipe", "version", "words", "scene_words", "num_frames"}
    assert [way for way in kept if not harmless & {*way}] == []


def check(folder, experiment):
    """What loading does before it builds anything."""
    check_recipe(folder, read_experiment(folder), experiment)


@pytest.mark.parametrize(
    ("file", "name", "value", "said"),
    [
        ("vae", "depth", 10**9, "vae/config.json: depth has the number 1e.09, accepted is at most 1000000"),
        ("vae", "depth", 5000, "vae/config.json: depth is 5000; accepted is from 1 to 3072"),
        ("vae", "depth", 3000, "vae/config.json describes a larger network than diffusion_pytorch_model.safetensors"),
        ("vae", "width", "8", 'vae/config.json: width is "8", wanted is a whole number'),
        ("vae", "width", 3000, "describes a larger network"),
        ("vae", "fine", 5, "misshapen weights"),
        ("vae", "fine_depth", ..., "vae/config.json has no 'fine_depth'; wanted is a whole number"),
        ("vae", "swing", 1, "vae/config.json has the unknown entry 'swing'; accepted are channels, width"),
        ("vae", "_class_name", "Block", "vae/config.json names the class 'Block'; accepted here"),
        ("audio_vae", "hidden_channels", None, "audio_vae/config.json: hidden_channels is null, wanted is a whole"),
        ("audio_vae", "hidden_channels", 100_000, "describes a larger network"),
        ("audio_vae", "channel_multipliers", 2, "channel_multipliers is 2, wanted is a list"),
        ("audio_vae", "channel_multipliers", ["x"], "audio_vae/config.json cannot be used"),
        ("audio_vae", "layers_per_block", 900_000, "describes a larger network"),
        ("audio_vae", "hop_length", 0, "samples per mel column, the VAE takes 0"),
        ("vocoder", "upsample_rates", [], "cannot be used"),
        ("vocoder", "resblock_dilation_sizes", [[[1]]], "cannot be used"),
    ],
)
def test_configurations_of_codecs_are_refused_by_name(model, file, name, value, said):
    changed(model, put(name, value), f"{file}/config.json")
    with pytest.raises(UserError, match=said) as refused:
        load(str(model), recipe=RECIPE)
    assert str(refused.value).startswith(str(model))


def test_damaged_configurations_are_refused_or_do_no_harm(model):
    chance = random.Random(1)
    for part in ("vae", "audio_vae", "vocoder"):
        path = model / part / "config.json"
        kept = path.read_text()
        for way in chance.sample(list(ways_in(json.loads(kept))), 5):
            changed(model, put(way, chance.choice(ODD)), path)
            with contextlib.suppress(UserError):
                load(str(model), recipe=RECIPE)
            path.write_text(kept)


def another(**settings):
    return replace(tiny(), **settings)


BLANK = Dropout(edit=Swap((("scene", "nothing"),)), share=0.5)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (another(name="other"), 'name "jova_pocket", now "other"'),
        (another(losses=()), "losses.0 FlowLoss, now nothing"),
        (another(losses=(replace(tiny().losses[0], weight=1.0),)), "losses.0.weight 5.0, now 1.0"),
        (another(tasks=tiny().tasks[:1]), "tasks.1"),
        (another(tasks=((tiny().tasks[0][0], 1.0), *tiny().tasks[1:])), "tasks.0.1 0.75, now 1.0"),
        (another(density=Uniform()), "density LogitNormal, now Uniform"),
        (another(density=LogitNormal(std=1.0, shift=7.0)), "density.std 1.8, now 1.0"),
        (another(dropout=(BLANK, *tiny().dropout[1:])), "dropout.0.edit.pairs.1"),
        (another(data=as_it_is), "data class Stills, now function as_it_is"),
        (another(patch=(1, 1)), "patch.0 2, now 1"),
        (another(optim=replace(tiny().optim, warmup=9)), "optim.warmup 2, now 9"),
        (tiny(batch=8), "train.batch 4, now 8"),
    ],
)
def test_a_run_goes_on_with_its_own_recipe_alone(tmp_path, now, said):
    assert tiny().data is Stills
    claim(tmp_path, tiny())
    claim(tmp_path, tiny())
    with pytest.raises(UserError) as refused:
        claim(tmp_path, now)
    assert f"{tmp_path} holds a run with {said}" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [RUN]


@pytest.mark.parametrize(
    "now",
    [
        tiny(steps=9, save_every=1, sample_every=1),
        tiny(accumulate=2, checkpointing=True, compile=True, arithmetic="bfloat16", parallel="replicate"),
        another(guidance=(), sampling=Sampling(steps=3), finish=as_it_is),
    ],
)
def test_length_machine_and_sampling_may_change(tmp_path, now):
    claim(tmp_path, tiny())
    claim(tmp_path, now)


def test_runs_of_before_go_on_by_the_numbers_that_they_noted(tmp_path):
    settings = asdict(tiny().train)
    kept = {name: settings[name] for name in ("batch", "seed")}
    old = {"recipe": "jova_pocket", "model": numbers(tiny()), "train": kept, "optim": asdict(tiny().optim)}
    (tmp_path / RUN).write_text(json.dumps(old))
    claim(tmp_path, tiny(steps=9))
    with pytest.raises(UserError, match="holds a run with train.seed 3, now 4"):
        claim(tmp_path, tiny(seed=4))
    for content, said in (
        ("{", "run.json is not JSON"),
        ('{"format": 3}', "format 3, this"),
        ('{"format": 2}', "exper"),
    ):
        (tmp_path / RUN).write_text(content)
        with pytest.raises(UserError, match=said):
            claim(tmp_path, tiny())
