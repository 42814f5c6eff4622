"""Imports of small fabricated checkpoints: whole, and broken in every way; and what they leave behind."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ovi_small import small
from safetensors.torch import load_file, save_file

from phonofilm.checkpoints import importing
from phonofilm.checkpoints.folder import WEIGHTS, load_shards, read_experiment, read_weights
from phonofilm.checkpoints.importing import import_weights, planned
from phonofilm.cli import main
from phonofilm.errors import UserError
from phonofilm.files.atomic import LEFT
from phonofilm.files.safetensors_index import entries, shards

GOLDEN = Path(__file__).parents[1] / "golden" / "ovi_official.safetensors"
RECIPE = "ovi_small:small"
NAME = "video_model.blocks.1.cross_attn.k_fusion.weight"


@pytest.fixture(scope="module")
def weights():
    return {n.removeprefix("weights."): t for n, t in load_file(GOLDEN).items() if n.startswith("weights.")}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "ovi"


def stored(tmp_path, weights):
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def refused(capsys, source, out, *more):
    """The command ends with code 2 and one line, and nothing is left beside the folder either."""
    out.parent.mkdir(exist_ok=True)
    with pytest.raises(SystemExit) as end:
        main(["import", str(source), "--as", RECIPE, "-o", str(out), *more])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert list(out.parent.iterdir()) == []
    return said.strip().splitlines()[-1]


def test_a_whole_checkpoint(tmp_path, weights, out, capsys):
    main(["import", str(stored(tmp_path, weights)), "--as", RECIPE, "-o", str(out)])
    assert capsys.readouterr().out.startswith(f"{out}: {len(weights)} tensors")
    content = read_experiment(out)
    assert content["recipe"] == RECIPE
    assert content["training"]["notes"] == {"imported": "model.safetensors", "tensors": len(weights)}
    made = read_weights(out)
    assert made.keys() == small().model.build().state_dict().keys()
    assert torch.equal(made["blocks.1.video.other.k.weight"], weights[NAME])
    head = weights["video_model.head.head.bias"].view(4, 3)  # the release counts a patch's channels fastest
    assert torch.equal(made["video.leave_x.bias"].view(3, 4), head.mT)
    assert [path.name for path in out.parent.iterdir()] == ["ovi"]


@pytest.mark.parametrize("at", ["", "transformer"])
def test_shards_in_and_out(tmp_path, weights, out, at):
    names = sorted(weights)
    source = tmp_path / at
    source.mkdir(exist_ok=True)
    places = {name: f"part-{index % 3}.safetensors" for index, name in enumerate(names)}
    for place in set(places.values()):
        save_file({n: weights[n].bfloat16() for n in names if places[n] == place}, source / place)
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    import_weights(tmp_path, RECIPE, out, shard=60_000)
    paths = shards(out / WEIGHTS)
    assert len(paths) > 2
    assert all(sum(e.size for e in entries(path).values()) <= 60_000 for path in paths)
    network = small().model.build()
    load_shards(network, paths)
    assert torch.equal(network.state_dict()["blocks.1.video.other.k.weight"], weights[NAME].bfloat16().float())
    assert {e.dtype for path in paths for e in entries(path).values()} == {"BF16"}
    (source / "part-1.safetensors").unlink()
    with pytest.raises(UserError, match=f"part-1.safetensors', which holds '{names[1]}'"):
        import_weights(tmp_path, RECIPE, out.with_name("other"))


def changed(weights, how):
    weights = dict(weights)
    if how == "missing":
        del weights[NAME]
    elif how == "surplus":
        weights["video_model.blocks.0.extra.weight"] = torch.zeros(2)
    elif how == "misshapen":
        weights[NAME] = weights[NAME][:-1].contiguous()
    elif how == "not finite":
        weights[NAME] = weights[NAME].clone().fill_(float("nan"))
    elif how == "twice":
        weights["blocks.1.video.other.k.weight"] = weights[NAME].clone()
    return weights


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "1 tensors of ovi_small:small missing, the first is 'blocks.1.video.other.k.weight'"),
        ("surplus", "1 surplus tensors, the first is 'video_model.blocks.0.extra.weight'"),
        ("misshapen", f"{NAME!r} has the shape [23, 24]"),
        ("not finite", f"{NAME!r} has values that are not finite"),
        ("twice", "are both 'blocks.1.video.other.k.weight' here"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, weights, out, capsys, how, said):
    assert said in refused(capsys, stored(tmp_path, changed(weights, how)), out)


@pytest.mark.parametrize("names", [["a", "b", "transformer/c"], ["a-00001-of-00002", "a-00002-of-00002", "b"]])
def test_a_folder_with_several_checkpoints_is_ambiguous(tmp_path, weights, out, capsys, names):
    (tmp_path / "source" / "transformer").mkdir(parents=True)
    for name in names:
        save_file(weights, tmp_path / "source" / f"{name}.safetensors")
    line = refused(capsys, tmp_path / "source", out)
    assert f"holds {len({name.split('-')[0] for name in names})} checkpoints: name one of" in line
    assert names[-1] in line


def test_shards_without_an_index_are_one_checkpoint(tmp_path, weights, out):
    (tmp_path / "source").mkdir()
    for number in (1, 2):
        half = {name: weights[name] for name in sorted(weights)[number - 1 :: 2]}
        save_file(half, tmp_path / "source" / f"model-{number:05}-of-00002.safetensors")
    assert len(planned(tmp_path / "source", RECIPE).parts) == len(weights)


@pytest.mark.parametrize("name", ["_junk.weight", "_", "__metadata", "module.x"])
def test_no_tensor_is_dropped(tmp_path, weights, out, capsys, name):
    assert f"1 surplus tensors, the first is {name!r}" in refused(
        capsys, stored(tmp_path, weights | {name: torch.zeros(2)}), out
    )


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "model._orig_mod."])
def test_prefixes_of_wrappers_are_named(tmp_path, weights, out, capsys, prefix):
    line = refused(capsys, stored(tmp_path, {prefix + name: tensor for name, tensor in weights.items()}), out)
    assert ("_orig_mod." if "_orig_mod." in prefix else "module.") in line
    assert "take the prefix away" in line


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_truncated_file_names_the_tensor(tmp_path, weights, out, capsys, kept):
    path = stored(tmp_path, weights)
    whole = path.read_bytes()
    held = entries(path)
    path.write_bytes(whole[: int(len(whole) * kept)])
    line = refused(capsys, path, out)
    name = line.split("'")[1]
    assert "truncated" in line
    before = sum(e.size for n, e in held.items() if list(held).index(n) < list(held).index(name))
    start = 8 + int.from_bytes(whole[:8], "little")
    assert start + before <= int(len(whole) * kept) < start + before + held[name].size  # where the cut is


@pytest.mark.parametrize("content", [b"", b"abc", b"\x05\x00\x00\x00\x00\x00\x00\x00wrong", b"PK\x03\x04" * 9])
def test_what_is_no_safetensors_file_is_refused(tmp_path, out, capsys, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert "no safetensors file" in refused(capsys, path, out)


def test_types_that_are_not_read_are_refused(tmp_path, weights, out, capsys):
    weights = dict(weights) | {NAME: weights[NAME].to(torch.float8_e4m3fn)}
    assert f"{NAME!r} is stored as F8_E4M3" in refused(capsys, stored(tmp_path, weights), out)


def test_nothing_to_import_and_folders_that_are_there(tmp_path, weights, out, capsys):
    assert "no weights in" in refused(capsys, tmp_path / "nothing", out)
    with pytest.raises(UserError, match="is there already"):
        import_weights(stored(tmp_path, weights), RECIPE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "model.safetensors"]
    with pytest.raises(UserError, match="no table of names"):
        import_weights(tmp_path / "model.safetensors", "jova_paper", out)


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from phonofilm.checkpoints import importing
read, done = importing.read, []
def dying(part, cells):
    done.append(part)
    if len(done) == 20:
        os.kill(os.getpid(), 9)
    return read(part, cells)
importing.read = dying
importing.import_weights({source!r}, {recipe!r}, {out!r}, shard=20_000)
"""


def test_an_import_that_was_killed_leaves_no_folder_and_can_be_repeated(tmp_path, weights, out):
    source = stored(tmp_path, weights)
    code = KILLED.format(
        tests=str(Path(__file__).parents[1] / "support"), source=str(source), recipe=RECIPE, out=str(out)
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=600).returncode == -9
    assert not out.exists()
    (left,) = out.parent.iterdir()
    assert LEFT.fullmatch(left.name)
    import_weights(source, RECIPE, out)
    assert [path.name for path in out.parent.iterdir()] == ["ovi"]


def test_stopping_in_the_middle_leaves_nothing(tmp_path, weights, out, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "describe_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        import_weights(stored(tmp_path, weights), RECIPE, out)
    assert list(out.parent.iterdir()) == []


def official(system):
    """Names and shapes of a published checkpoint (tests/golden/*.md); ``*`` stands for the number of a block."""
    content = json.loads((GOLDEN.parent / f"{system}_official_names.json").read_text())
    for name, shape in content["shapes"].items():
        count = content["blocks"] if isinstance(content["blocks"], int) else content["blocks"].get(name.split(".")[0])
        for number in range(count) if "*" in name else (0,):
            yield name.replace("*", str(number)), shape


def hollow(path, shapes):
    """A checkpoint of full size whose tensors are a hole in the file: no disk and no memory."""
    header, end = {}, 0
    for name, shape in shapes:
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


@pytest.mark.parametrize("system", ["ovi", "nava", "uniavgen"])
def test_published_checkpoints_fit_their_recipes_at_full_size(tmp_path, system):
    path = tmp_path / "model.safetensors"
    shapes = list(official(system))
    hollow(path, shapes)
    plan = planned(path, f"{system}_paper")
    assert len(plan.parts) == len(shapes) > 1000
    assert plan.fresh == ()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(UserError, match=f"truncated: {shapes[-1][0]!r}"):
        planned(path, f"{system}_paper")


def wan_weights(weights, *, diffusers):
    """The picture's tower under the names of Wan's own code, or as diffusers' class names and shapes them."""
    if not diffusers:
        own = {n.removeprefix("video_model."): t for n, t in weights.items() if n.startswith("video_model.")}
        return {n.replace("modulation.modulation", "modulation"): t for n, t in own.items() if "fusion" not in n}
    from diffusers import WanTransformer3DModel

    torch.manual_seed(3)
    network = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=3,
        out_channels=3,
        ffn_dim=32,
        num_layers=2,
        text_dim=12,
    )
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("diffusers", [False, True])
def test_a_start_from_wan_lists_what_is_fresh(tmp_path, weights, out, capsys, diffusers):
    source = stored(tmp_path, wan_weights(weights, diffusers=diffusers))
    main(["import", str(source), "--as", RECIPE, "-o", str(out), "--init"])
    listed = capsys.readouterr().out.splitlines()[2:]
    made, theirs = read_weights(out), load_file(source)
    fresh = {name for name in made if name.startswith(("audio.", "context.audio.")) or ".audio." in name}
    assert {line.strip() for line in listed} == fresh | {name for name in made if ".video.other." in name}
    name = "blocks.1.attn1.to_q.weight" if diffusers else "blocks.1.self_attn.q.weight"
    assert torch.equal(made["blocks.1.video.projection.q.weight"], theirs[name])
    assert made["audio.enter_x.conv.weight"].std() > 0
    again = import_weights(source, RECIPE, out.with_name("again"), init=True)
    assert len(again.fresh) == len(listed)
    assert all(torch.equal(tensor, made[name]) for name, tensor in read_weights(out.with_name("again")).items())


def test_a_start_from_wan_of_another_size_is_refused(tmp_path, weights, out, capsys):
    wan = wan_weights(weights, diffusers=False)
    wan["head.head.weight"] = torch.zeros(16, 24)
    assert "'head.head.weight' has the shape [16, 24]" in refused(capsys, stored(tmp_path, wan), out, "--init")
