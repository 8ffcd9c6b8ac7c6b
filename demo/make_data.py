"""Makes clicks.parquet out of the published e-shop data set; README.md beside says what changes.

    python demo/make_data.py "e-shop clothing 2008.csv" [--output FILE]

The file may also be compressed (.xz, .gz, .zip).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

CATEGORIES = {1: "trousers", 2: "skirts", 3: "blouses", 4: "sale"}
COLOURS = {
    1: "beige",
    2: "black",
    3: "blue",
    4: "brown",
    5: "burgundy",
    6: "gray",
    7: "green",
    8: "navy blue",
    9: "of many colours",
    10: "olive",
    11: "pink",
    12: "red",
    13: "violet",
    14: "white",
}
LOCATIONS = {
    1: "top left",
    2: "top middle",
    3: "top right",
    4: "bottom left",
    5: "bottom middle",
    6: "bottom right",
}
PHOTOGRAPHY = {1: "en face", 2: "profile"}


def convert(source: pd.DataFrame) -> pd.DataFrame:
    """Names the columns in plain words and makes a time of day and order of the click."""
    day = pd.to_datetime(source[["year", "month", "day"]])
    # Only the day is published. One second between clicks keeps their order.
    timestamp = day + pd.to_timedelta(source["order"] - 1, unit="s")
    return pd.DataFrame(
        {
            "session_id": source["session ID"].astype("int64"),
            "item_id": source["page 2 (clothing model)"].astype(str),
            "timestamp": timestamp.astype("datetime64[ns]"),
            "category": source["page 1 (main category)"].map(CATEGORIES),
            "colour": source["colour"].map(COLOURS),
            "location": source["location"].map(LOCATIONS),
            "photography": source["model photography"].map(PHOTOGRAPHY),
            "country": source["country"].astype("int64"),
            "page": source["page"].astype("int64"),
            "price": source["price"].astype("float32"),
        }
    )


def main() -> None:
    """Reads the published file and writes clicks.parquet, beside this script unless told otherwise."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("source", help="the published file, separated by semicolons")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("clicks.parquet"), metavar="FILE")
    arguments = parser.parse_args()
    clicks = convert(pd.read_csv(arguments.source, sep=";"))
    if clicks.isna().to_numpy().any():
        raise SystemExit("The source holds a value that the code book does not list.")
    table = pa.Table.from_pandas(clicks, preserve_index=False)
    pq.write_table(table, arguments.output, compression="zstd", compression_level=19)
    print(f"{len(clicks):,} clicks in {clicks.session_id.nunique():,} sessions: {arguments.output.name}")


if __name__ == "__main__":
    main()
