"""Parquet tables: small files that would fill the memory, damaged ones, and those that are what they should be."""

import random

import pytest
from breaking import damage, tried

pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from phonofilm.errors import UserError
from phonofilm.files.parquet import read_rows

SCHEMA = pa.schema([("index", pa.int64()), ("words", pa.list_(pa.string()))])


def write(path, columns, **options):
    pq.write_table(pa.table(columns), path, write_page_checksum=True, **options)
    return path


def test_rows_come_back(tmp_path):
    path = write(tmp_path / "t.parquet", {"index": [1, 2], "words": [["a"], []]})
    assert read_rows(path) == [{"index": 1, "words": ["a"]}, {"index": 2, "words": []}]
    short = write(tmp_path / "s.parquet", {"index": [1]})
    assert read_rows(short, SCHEMA) == [{"index": 1, "words": None}]
    with pytest.raises(UserError, match="index is string, wanted is int64"):
        read_rows(write(tmp_path / "w.parquet", {"index": ["1"]}), SCHEMA)


@pytest.mark.parametrize(
    "columns",
    [
        {"index": pa.array([7]).take(pa.array([0] * 20_000_000, pa.int32()))},
        {"words": pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), ["x" * 10_000])},
    ],
    ids=["20 million times the same number", "2 GB of the same text"],
)
def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, columns):
    path = write(tmp_path / "bomb.parquet", columns, compression="zstd")
    assert path.stat().st_size < 200_000
    with pytest.raises(UserError, match="bomb.parquet unpacks to"):
        read_rows(path)


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_refused(tmp_path, seed):
    rng = random.Random(seed)
    rows = {"index": list(range(50)), "words": [[str(rng.random())] for _ in range(50)]}
    path = write(tmp_path / "t.parquet", rows)
    before = read_rows(path)
    way = damage(path, seed)
    found, said = tried(read_rows, path)
    if found is None:
        assert str(path) in said
    else:
        assert found == before, way  # where nothing reads, such as the name of the program that wrote it
