"""The one module that knows pyarrow: Parquet files of interactions and of recommendations."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nextitem_bundle.signature import Feature, Signature
from nextitem_client._exceptions import InvalidOption, MissingPackage
from nextitem_client.bulk._files import CHUNK_ROWS, require_columns
from nextitem_client.bulk._grouping import Rows


class ParquetRows:
    """Parquet, read by row groups and of these only the columns that are needed."""

    def __init__(self, path: Path, session_column: str, signature: Signature) -> None:
        self._path = path
        self._session = session_column
        self._features = signature.features
        self._arrow = _import("pyarrow")
        self._compute = _import("pyarrow.compute")
        self._parquet = _import("pyarrow.parquet")
        try:
            schema: Any = self._parquet.ParquetFile(path).schema_arrow
        except (self._arrow.ArrowException, OSError) as error:
            raise InvalidOption(f"{path} cannot be read as a Parquet file: {error}.") from None
        require_columns(path, list(schema.names), session_column, signature)
        lists = [f.name for f in signature.features if self._arrow.types.is_nested(schema.field(f.name).type)]
        if lists:
            raise InvalidOption(
                f"{path} holds lists in {', '.join(lists)}; expected is one row for each interaction: explode them first "
                "(DataFrame.explode in pandas)."
            )
        self.id_type = self._id_type(schema.field(session_column).type)

    def ids(self) -> Iterator[Sequence[Any]]:
        """See RowFile."""
        for batch in self._batches([self._session]):
            yield self._listed(batch.column(0))

    def rows(self) -> Iterator[Rows]:
        """See RowFile."""
        for batch in self._batches([self._session, *(f.name for f in self._features)]):
            columns = {f.name: self._values(batch.column(f.name), f) for f in self._features}
            yield self._listed(batch.column(self._session)), columns

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        with self._parquet.ParquetFile(self._path) as file:
            try:
                yield from file.iter_batches(CHUNK_ROWS, columns=list(dict.fromkeys(columns)))
            except (self._arrow.ArrowException, OSError) as error:
                raise InvalidOption(f"{self._path} cannot be read: {error}.") from None

    def _id_type(self, found: Any) -> str:
        types = self._arrow.types
        if types.is_dictionary(found):
            found = found.value_type
        if types.is_string(found) or types.is_large_string(found):
            return "string"
        if types.is_uint64(found):
            return "unsigned"
        if types.is_integer(found):
            return "integer"
        raise InvalidOption(
            f"The column {self._session} of {self._path} is of type {found}; expected are strings or integers."
        )

    def _values(self, column: Any, feature: Feature) -> list[Any]:
        """Python values; times as exact nanoseconds, and whole floats of an integer column as integers."""
        arrow, compute = self._arrow, self._compute
        if arrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        try:
            if arrow.types.is_timestamp(column.type) or arrow.types.is_date(column.type):
                column = column.cast(arrow.timestamp("ns", getattr(column.type, "tz", None))).cast(arrow.int64())
            elif feature.kind == "integer" and arrow.types.is_floating(column.type):
                # What pandas makes of integers with nulls.
                column = compute.if_else(compute.is_nan(column), None, column).cast(arrow.int64())
        except arrow.ArrowInvalid:
            pass  # one value does not fit; the client says which
        return self._listed(column)

    def _listed(self, column: Any) -> list[Any]:
        """The values as Python has them, several times faster than to_pylist where NumPy has them without a change."""
        types = self._arrow.types
        strings = types.is_string(column.type) or types.is_large_string(column.type)
        numbers = types.is_integer(column.type) or types.is_floating(column.type)
        if strings or (numbers and not column.null_count):
            return column.to_numpy(zero_copy_only=False).tolist()
        return column.to_pylist()


class ParquetTable:
    """Writes recommendations; a part is one row group."""

    def __init__(self, id_type: str, item_type: str, heads: Sequence[str]) -> None:
        self._arrow = _import("pyarrow")
        self._parquet = _import("pyarrow.parquet")
        arrow = self._arrow
        types = {"string": arrow.string(), "integer": arrow.int64(), "unsigned": arrow.uint64()}
        self._schema = arrow.schema(
            [
                ("session_id", types[id_type]),
                ("rank", arrow.int32()),
                ("item_id", types[item_type]),
                ("score", arrow.float32()),
                ("status", arrow.string()),
                *((name, arrow.float32()) for name in heads),
            ]
        )

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows of (session id, rank, item id, score, status, heads …) as a file of their own."""
        columns = list(zip(*rows)) if rows else [()] * len(self._schema)
        table = self._arrow.table(
            [self._arrow.array(column, field.type) for column, field in zip(columns, self._schema)], schema=self._schema
        )
        self._parquet.write_table(table, path)

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """Write the rows of all parts, in order."""
        with self._parquet.ParquetWriter(path, self._schema) as writer:
            for part in parts:
                writer.write_table(self._parquet.read_table(part))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackage(
            f"Parquet files need pyarrow, which cannot be imported ({error}). Install it with: "
            "pip install 'nextitem-client[bulk]'"
        ) from error
