"""Parquet tables row by row, within limits that are known before anything is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonofilm.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MOST_ROWS = 1 << 24
"""Of a table: no corpus has as many clips."""
SMALL, RATIO = 1 << 20, 64
"""Rows (and bytes: 64 times as many) that any table may unpack to, and how many more for each byte of its file."""
ROWS = 256
"""Rows that are unpacked together, at most."""


def read_rows(path: Path, schema: pa.Schema | None = None) -> list[dict[str, Any]]:
    """The rows of a table as plain values, None where a column of ``schema`` is not in it.

    Raises ``UserError`` that names a file which is damaged, has a column of another type, or unpacks to far more than
    its size lets one think.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check(path, file, schema)
            rows = list(_unpacked(path, file))
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a parquet table: {' '.join(str(error).split())[:200]}") from error
    return rows if schema is None else [{name: row.get(name) for name in schema.names} for row in rows]


def _check(path: Path, file: pq.ParquetFile, schema: pa.Schema | None) -> None:
    # What the footer says of single columns is not asked for: pyarrow ends the process where that is damaged.
    rows, most = file.metadata.num_rows, min(MOST_ROWS, _allowed(path))
    if rows > most:
        raise UserError(f"{path} unpacks to {rows} rows, accepted for a file of its size are {most}")
    wanted = {} if schema is None else {field.name: field.type for field in schema}
    for field in file.schema_arrow:
        if "dictionary<" in str(field.type)[1:] or "run_end_encoded<" in str(field.type):
            raise UserError(f"{path}: {field.name} is {field.type}, which is not read: write it as plain values")
        if field.type != wanted.get(field.name, field.type):
            raise UserError(f"{path}: {field.name} is {field.type}, wanted is {wanted[field.name]}")


def _allowed(path: Path) -> int:
    return SMALL + RATIO * path.stat().st_size


def _unpacked(path: Path, file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """Rows, a few at a time: so few that also the longest values are small together."""
    about, most, taken = file.metadata, RATIO * _allowed(path), 0
    longest = max((about.row_group(k).total_byte_size for k in range(about.num_row_groups)), default=1)
    for packed in file.iter_batches(batch_size=max(1, min(ROWS, RATIO * SMALL // max(longest, 1)))):
        batch = _decoded(packed)
        taken += batch.nbytes
        if taken > most:
            raise UserError(f"{path} unpacks to more than {most >> 20} MiB, which is too much for a file of its size")
        yield from batch.to_pylist()


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Categories as the values that they stand for, which is what they become: each row has its own."""
    import pyarrow as pa

    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
