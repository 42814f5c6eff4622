"""Headers and indices of safetensors files as damage and malice write them: refused by name, never a traceback."""

import json
import random

import pytest
import torch
from breaking import tried
from safetensors.torch import save_file

from phonofilm.errors import UserError
from phonofilm.files.safetensors_index import entries, read_tensors, shards

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def write(path, header, data=bytes(8)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_what_safetensors_writes_is_read(tmp_path):
    tensors = {"_a": torch.ones(2), "b": torch.zeros(0, 3), "c": torch.tensor(1.0).half()}
    save_file(tensors, tmp_path / "t.safetensors", metadata={"format": "pt"})
    assert {name: stored.shape for name, stored in entries(tmp_path / "t.safetensors").items()} == {
        "_a": (2,),
        "b": (0, 3),
        "c": (),
    }
    assert read_tensors(tmp_path / "t.safetensors").keys() == tensors.keys()


@pytest.mark.parametrize(
    "header",
    [
        {"a": GOOD["a"] | {"shape": [-2]}},
        {"a": GOOD["a"] | {"shape": [2.0]}},
        {"a": GOOD["a"] | {"shape": [True, 2]}},
        {"a": GOOD["a"] | {"shape": "ab"}},
        {"a": GOOD["a"] | {"shape": None}},
        {"a": GOOD["a"] | {"shape": [10**30]}},
        {"a": GOOD["a"] | {"shape": [1] * 100000}},
        {"a": GOOD["a"] | {"dtype": 7}},
        {"a": GOOD["a"] | {"dtype": ["F32"]}},
        {"a": GOOD["a"] | {"dtype": "F31"}},
        {"a": GOOD["a"] | {"data_offsets": [8, 0]}},
        {"a": GOOD["a"] | {"data_offsets": [0]}},
        {"a": GOOD["a"] | {"data_offsets": ["0", "8"]}},
        {"a": GOOD["a"] | {"data_offsets": [-8, 0]}},
        {"a": GOOD["a"] | {"data_offsets": [4, 12]}},
        {**GOOD, "b": GOOD["a"]},
        {"a": 3},
        {"": {}},
        {"a": GOOD["a"] | {"shape": [1], "data_offsets": [0, 4]}},
        [GOOD],
        "text",
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
    ids=str,
)
def test_odd_headers_are_refused_by_name(tmp_path, header):
    path = write(tmp_path / "t.safetensors", header)
    with pytest.raises(UserError, match=r"t\.safetensors"):
        read_tensors(path)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9])
def test_lengths_of_headers_are_not_believed(tmp_path, length):
    path = tmp_path / "t.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match=r"t\.safetensors"):
        entries(path)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"weight_map": []},
        {"weight_map": {"a": 1}},
        {"weight_map": {"a": None}},
        {"weight_map": {"a": "../x"}},
        {"weight_map": {"a": "\0"}},
        {"weight_map": {"a": "gone.safetensors"}},
        {"weight_map": {"b": "part.safetensors"}},
    ],
    ids=str,
)
def test_odd_indices_are_refused_by_name(tmp_path, content):
    write(tmp_path / "part.safetensors", GOOD)
    (tmp_path / "t.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=str(tmp_path)):
        shards(tmp_path / "t.safetensors")


@pytest.mark.parametrize("seed", range(40))
def test_any_flipped_bit_of_a_header_is_refused_or_changes_a_name(tmp_path, seed):
    path, rng = tmp_path / "t.safetensors", random.Random(seed)
    save_file({"first": torch.arange(6.0).view(2, 3), "second": torch.ones(4)}, path)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    data[rng.randrange(8 + length)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    found, said = tried(read_tensors, path)
    if found is None:
        assert str(path) in said
    else:
        assert found.keys() != {"first", "second"} or [tuple(t.shape) for t in found.values()] == [(2, 3), (4,)]
