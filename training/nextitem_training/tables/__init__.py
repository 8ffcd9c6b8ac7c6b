"""Reads the columns of interactions and of items from files: one file or a folder of parts, each Parquet, CSV or JSON lines.

`selection` says which files, one module a format reads the columns that are asked for, `declared` and `unify` give each
column the one type that it has in all parts, `times` makes date-times of it. `vectors` reads
vectors of items from .npz files.
"""

from nextitem_training.tables.reading import read_columns

__all__ = ["read_columns"]
