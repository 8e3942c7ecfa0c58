"""The Parquet schemas of the tables, and the files that a worker makes of one trial."""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raysweep import defences
from raysweep.config.own_class import is_own_key
from raysweep.records.columns import (
    AttackRecord,
    EpochRecord,
    SubsetRecord,
    TrialRecord,
    TrialResult,
)

FEW_ROWS = 100

FEW_BYTES = 20_000

DENSE = {"compression": "zstd"}

PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}
"""How a file of few rows is written: in half the time, and smaller than with compression."""

LISTS = PLAIN | {"compression": "zstd"}
"""How a file of few rows with long lists is written: a quarter as large."""

MAPPINGS = ("defences", "ppv_at_priors")
"""The fields of a trial's record that become a column for each key."""

ARROW = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}


def _arrow_type(hint: Any) -> pa.DataType:
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(part for part in parts if part is not type(None))
    return ARROW.get(kind, pa.string())


def _schema_of(record: type[Any]) -> pa.Schema:
    hints = typing.get_type_hints(record)
    columns = {name: _arrow_type(hint) for name, hint in hints.items() if name not in MAPPINGS}
    return pa.schema(list(columns.items()))


def _trials_schema() -> pa.Schema:
    schema = _schema_of(TrialRecord)
    columns = list(zip(schema.names, schema.types, strict=True))
    for key, value in defences.neutral().items():
        if key not in schema.names:
            columns.append((key, pa.string() if isinstance(value, str) else pa.float64()))
    return pa.schema(columns)


_IMAGE = pa.list_(pa.float32())

SCHEMAS: dict[str, pa.Schema] = {
    "scores": pa.schema(
        {
            "trial_id": pa.string(),
            "attack": pa.string(),
            "example": pa.int64(),
            "member": pa.bool_(),
            "score": pa.float64(),
            "reached": pa.bool_(),
        }
    ),
    "reconstructions": pa.schema(
        {
            "trial_id": pa.string(),
            "attack": pa.string(),
            "layer": pa.string(),
            "example": pa.int64(),
            "label": pa.int64(),
            "converged": pa.bool_(),
            "mse": pa.float64(),
            "ssim": pa.float64(),
            "cost": pa.float64(),
            "recognised": pa.bool_(),
            "shape": pa.list_(pa.int64()),
            "original": _IMAGE,
            "image": _IMAGE,
        }
    ),
    "examples": pa.schema(
        {
            "trial_id": pa.string(),
            "figure": pa.string(),
            "of_models": pa.list_(pa.float64()),
            "example": pa.list_(pa.int64()),
            "of_examples": pa.list_(pa.float32()),
        }
    ),
    "attacks": _schema_of(AttackRecord),
    "epochs": _schema_of(EpochRecord),
    "subsets": _schema_of(SubsetRecord),
    "trials": _trials_schema(),
}


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The records of one trial, ready to be written: its row, and a file for each other table.

    Workers make the files, so that the driver, which writes for all of them, has little to do.
    """

    trial: TrialRecord
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # Tune prints results

    def with_number(
        self, *, number: int, scenario: str | None = None, retries: Sequence[str] = ()
    ) -> Packed:
        """Return a copy with the proposal's number, and the reasons why earlier attempts failed."""
        trial = dataclasses.replace(
            self.trial,
            number=number,
            scenario=scenario,
            attempts=1 + len(retries),
            retries=json.dumps(list(retries)) if retries else None,
        )
        return dataclasses.replace(self, trial=trial)


def pack(result: TrialResult) -> Packed:
    """Return the records of a trial as Parquet files, one for each table that has rows."""
    files = {name: to_parquet(rows) for name, rows in tables_of(result).items() if len(rows)}
    return Packed(trial=result.trial, files=files)


def tables_of(result: TrialResult) -> dict[str, pa.Table]:
    """Return all tables of one trial except ``trials``, whose row has no number yet."""
    tables = {"scores": _scores_table(result.trial.trial_id, result)}
    tables["reconstructions"] = _reconstructions_table(result)
    tables["examples"] = pa.Table.from_pylist(
        [{"trial_id": result.trial.trial_id, **vars(row)} for row in result.examples],
        schema=SCHEMAS["examples"],
    )
    plain = {"attacks": result.attacks, "epochs": result.epochs, "subsets": result.subsets}
    for name, records in plain.items():
        rows = [vars(record) for record in records]
        tables[name] = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
    return tables


def row_of(trial: TrialRecord) -> pa.Table:
    """Return the table of one row in ``trials``, with the columns of its own mappings."""
    schema = SCHEMAS["trials"]
    for name in trial.ppv_at_priors:
        schema = schema.append(pa.field(name, pa.float64()))
    for key, value in trial.defences.items():
        if is_own_key(key):
            schema = schema.append(pa.field(key, _arrow_type(type(value))))
    return pa.Table.from_pylist([trial.row()], schema=schema)


def to_parquet(rows: pa.Table) -> bytes:
    """Return rows as the bytes of one Parquet file."""
    buffer = io.BytesIO()
    form = PLAIN if rows.nbytes < FEW_BYTES else LISTS if len(rows) <= FEW_ROWS else DENSE
    pq.write_table(rows, buffer, **form)
    return buffer.getvalue()


def _scores_table(trial_id: str, result: TrialResult) -> pa.Table:
    parts = [
        pa.table(
            [
                pa.array([trial_id] * len(rows.score)),
                pa.array([rows.attack] * len(rows.score)),
                rows.example,
                rows.member,
                rows.score,
                pa.nulls(len(rows.score), pa.bool_()) if rows.reached is None else rows.reached,
            ],
            schema=SCHEMAS["scores"],
        )
        for rows in result.scores
    ]

    return pa.concat_tables([SCHEMAS["scores"].empty_table(), *parts])


def _reconstructions_table(result: TrialResult) -> pa.Table:
    schema = SCHEMAS["reconstructions"]
    parts = [schema.empty_table()]
    for rows in result.reconstructions:
        n = len(rows.example)
        columns = vars(rows) | {
            "trial_id": [result.trial.trial_id] * n,
            "attack": [rows.attack] * n,
            "layer": [rows.layer] * n,
            "shape": [list(rows.original.shape[1:])] * n,
            "original": list(rows.original.reshape(n, -1)),
            "image": list(rows.image.reshape(n, -1)),
        }

        arrays = [
            pa.nulls(n, kind) if columns[key] is None else pa.array(columns[key], kind)
            for key, kind in zip(schema.names, schema.types, strict=True)
        ]
        parts.append(pa.table(arrays, schema=schema))

    return pa.concat_tables(parts)


def numeric_columns(table: str) -> list[str]:
    """Return the names of the columns of a table that hold numbers."""
    kinds = zip(SCHEMAS[table].names, SCHEMAS[table].types, strict=True)
    return [name for name, kind in kinds if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
