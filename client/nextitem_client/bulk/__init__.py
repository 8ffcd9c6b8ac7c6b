"""Recommendations for whole files of sessions, from a server or a bundle; continued where a run was interrupted.

with OfflineClient("model_repository/shop") as client:
    report = recommend_file("sessions.parquet", "recommendations.parquet", client, k=20)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice, repeat
from pathlib import Path
from typing import Any, Union

from nextitem_bundle.signature import Signature
from nextitem_client._client import Client
from nextitem_client._exceptions import InvalidOption, UnexpectedResponse
from nextitem_client._wire.filters import ItemIds
from nextitem_client._wire.response import Recommendation, head_columns, head_values
from nextitem_client.bulk._answering import PART_SESSIONS, Failure, Wanted, answer_batches, progress_bar
from nextitem_client.bulk._files import CsvRows, CsvTable, JsonLines, JsonLinesTable, RowFile, Table
from nextitem_client.bulk._grouping import GroupedSession, Sessions, count_sessions, group
from nextitem_client.bulk._parquet import ParquetRows, ParquetTable
from nextitem_client.bulk._parts import Parts, failures_file, is_unfinished, parts_folder

__all__ = ["DEFAULT_CONCURRENCY", "DEFAULT_SESSION_COLUMN", "BulkReport", "recommend_file"]

DEFAULT_CONCURRENCY = 4
"""Requests in flight at a time."""
DEFAULT_SESSION_COLUMN = "session_id"
"""The column whose equal values make rows one session."""

#: By the end of a file's name: how interactions are read from it …
READERS: Mapping[str, Callable[[Path, str, Signature], RowFile]] = {
    ".parquet": ParquetRows,
    ".csv": CsvRows,
    ".jsonl": JsonLines,
}
#: … and recommendations written; the arguments are the types of session ids and of items, and the heads' columns.
WRITERS: Mapping[str, Callable[[str, str, Sequence[str]], Table]] = {
    ".parquet": ParquetTable,
    ".csv": CsvTable,
    ".jsonl": JsonLinesTable,
}

#: A value for each column of the output.
Row = tuple[Any, ...]


@dataclass(frozen=True)
class BulkReport:
    """What a run has done.

    Attributes:
        output: the file of recommendations.
        sessions: all of the file. None where the output was complete already.
        failed: of these, sessions without an answer.
        resumed: of these, sessions that an earlier run had done.
        failures: the file that lists the failed sessions with the reason. None where there are none.
        complete_before: the output was complete already, so that no request was sent.
    """

    output: Path
    sessions: int | None
    failed: int
    resumed: int
    failures: Path | None
    complete_before: bool = False


def recommend_file(
    sessions: Union[str, os.PathLike[str]],
    output: Union[str, os.PathLike[str]],
    client: Client,
    *,
    session_column: str = DEFAULT_SESSION_COLUMN,
    k: int | None = None,
    exclude: ItemIds | None = None,
    allow: ItemIds | None = None,
    exclude_seen: bool = False,
    concurrency: int = DEFAULT_CONCURRENCY,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> BulkReport:
    """Recommend to every session of a file. docs/offline.md describes both files.

    Sessions that cannot be answered are listed with the reason in `<output>.failed.jsonl`. Where the run ends early (an
    error of the server, Ctrl-C, a killed process) what is done stays beside the output for `resume`.

    Args:
        sessions: .parquet, .csv or .jsonl, one row for each interaction: `session_column` and the model's features.
        output: .parquet, .csv or .jsonl, one row for each recommended item, sessions in order of first appearance.
        client: a Client or an OfflineClient.
        session_column: rows that are equal here are one session.
        k: items wanted for each session. None: the model's default.
        exclude: raw ids never to recommend, the same for all sessions.
        allow: raw ids; only these may be recommended, the same for all sessions.
        exclude_seen: leave out the items of the session itself.
        concurrency: requests in flight at a time, 1 or more.
        resume: continue an interrupted run. Nothing is done where the output is complete and newer than the sessions.
        overwrite: replace an output, and drop what an interrupted run has left.
        progress: draw a progress bar on a terminal.

    Returns:
        How many sessions were answered, and where the failures are.

    Raises:
        InvalidOption: an argument is out of its range, or a file cannot be used.
        MissingPackage: a package that the kind of file needs is not installed.
        ServerError: the server does not answer; a subclass says why.
        OSError: the output cannot be written.
    """
    source, target = Path(sessions), Path(output)
    if concurrency < 1:
        raise InvalidOption(f"concurrency is {concurrency}; expected is 1 or more.")
    if not source.is_file():
        raise InvalidOption(f"The file of sessions {source} {'is a folder' if source.is_dir() else 'does not exist'}.")
    if source.suffix.lower() not in READERS:
        raise InvalidOption(f"{source} is of no known kind; known are {', '.join(READERS)}.")
    if _is_complete(source, target, resume=resume, overwrite=overwrite):
        return _report(target, None, 0, complete_before=True)
    signature = client.signature
    wanted = _wanted(signature, k, exclude, allow, exclude_seen)
    try:
        file = READERS[source.suffix.lower()](source, session_column, signature)
        found, id_type = _first_pass(file)
    except OSError as error:
        raise InvalidOption(f"The file of sessions {source} cannot be read ({error.strerror or error}).") from error
    item = next(feature for feature in signature.features if feature.name == signature.item_column)
    item_type = "string" if item.datatype == "BYTES" else "integer"
    table = WRITERS[target.suffix.lower()](id_type, item_type, head_columns(signature.heads))
    parts = Parts(target, table, _request(source, session_column, wanted, client))
    try:
        if resume and is_unfinished(target):
            parts.resume()
        else:
            parts.begin()
        todo = group(file.rows(), found)
        resumed = sum(1 for _ in islice(todo, parts.count * PART_SESSIONS))
        with progress_bar(found.count, resumed, shown=progress) as bar:
            answered = _answer_in_parts(client, todo, wanted, concurrency, parts, bar)
        parts.finish()
    finally:
        parts.close()
    return _report(target, resumed + answered, resumed)


def _is_complete(source: Path, output: Path, *, resume: bool, overwrite: bool) -> bool:
    """Whether there is nothing to do. Raises InvalidOption where what is there must not be touched."""
    if output.suffix.lower() not in WRITERS:
        raise InvalidOption(f"The output {output} is of no known kind; known are {', '.join(WRITERS)}.")
    if not output.parent.is_dir():
        raise InvalidOption(f"The folder {output.parent} of the output does not exist: make it, or name another.")
    if output.is_dir():
        raise InvalidOption(f"The output {output} is a folder; expected is the name of a file.")
    if output.exists() and output.samefile(source):
        raise InvalidOption(f"The output {output} is the file of sessions itself: name another.")
    if resume and overwrite:
        raise InvalidOption("resume and overwrite exclude each other: continue an earlier run, or start anew.")
    if overwrite or (resume and is_unfinished(output)):
        return False
    if is_unfinished(output):
        raise InvalidOption(
            f"{parts_folder(output)} holds an unfinished run: continue it with resume=True (--resume), or drop it "
            "with overwrite=True (--overwrite)."
        )
    if output.exists() and not resume:
        raise InvalidOption(
            f"The output {output} exists: name another, or replace it with overwrite=True (--overwrite)."
        )
    if output.exists() and output.stat().st_mtime_ns < source.stat().st_mtime_ns:
        raise InvalidOption(
            f"The output {output} is complete, but older than {source}, so it may answer an earlier file: replace it with "
            "overwrite=True (--overwrite), or name another."
        )
    return output.exists()


def _wanted(
    signature: Signature, k: int | None, exclude: ItemIds | None, allow: ItemIds | None, exclude_seen: bool
) -> Wanted:
    """Refuse what would fail for every session."""
    limit, default = signature.top_k_limit, signature.top_k_default
    if k is not None and not 1 <= k <= limit:
        raise InvalidOption(f"k is {k}; expected is an int from 1 to {limit}, or None for {default}.")
    excluded, allowed = (None if one is None else list(one) for one in (exclude, allow))
    return Wanted(default if k is None else k, excluded, allowed, exclude_seen)


def _first_pass(file: RowFile) -> tuple[Sessions, str]:
    kinds: set[str] = set()

    def ids() -> Iterator[Sequence[Any]]:
        for chunk in file.ids():
            if file.id_type is None:
                kinds.update(map(_kind, (value for value in chunk if value is not None)))
            yield chunk

    found = count_sessions(ids())
    if len(kinds) > 1:
        raise InvalidOption(
            "Some session ids are text and some are integers, so that one may stand for two; choose one."
        )
    return found, file.id_type or ("integer" if kinds == {"integer"} else "string")


def _kind(session_id: Any) -> str:
    return "integer" if isinstance(session_id, int) else "string"


def _request(source: Path, session_column: str, wanted: Wanted, client: Client) -> dict[str, Any]:
    """What must be the same for a run to be continued."""
    state, heads = source.stat(), head_columns(client.signature.heads)
    return {
        "sessions": source.name,
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "session_column": session_column,
        **wanted.document(),
        "model": client.model,
        "bundle_version": client.signature.bundle_version,
        "part_sessions": PART_SESSIONS,
        **({"heads": heads} if heads else {}),
    }


def _answer_in_parts(
    client: Client, sessions: Iterator[GroupedSession], wanted: Wanted, concurrency: int, parts: Parts, bar: Any
) -> int:
    """How many sessions there were; all parts but the last have PART_SESSIONS of them."""
    rows: list[Row] = []
    failures: list[dict[str, Any]] = []
    total, version = 0, None
    for answered in answer_batches(client, sessions, wanted, concurrency):
        for session, answer in answered:
            if isinstance(answer, Failure):
                failures.append({"session_id": session.session_id, "error": answer.error, "reason": answer.reason})
                continue
            version = version or answer.model_version
            if answer.model_version != version:
                raise UnexpectedResponse(
                    f"Version {answer.model_version} of the model {answer.model} took the place of {version} during "
                    "the run, and one file should be of one version: start anew with overwrite=True (--overwrite)."
                )
            rows += _rows(session.session_id, answer)
        total += len(answered)
        bar.update(len(answered))
        if total % PART_SESSIONS == 0:
            parts.add(rows, failures)
            rows, failures = [], []
    if total % PART_SESSIONS:
        parts.add(rows, failures)
    return total


def _rows(session_id: Any, answer: Recommendation) -> list[Row]:
    """One row an item; where there is none, one without rank, item and score, so that no session is missing."""
    of_session = (answer.status, *head_values(answer))
    if not answer.item_ids:
        return [(session_id, None, None, None, *of_session)]
    return list(zip(repeat(session_id), count(1), answer.item_ids, answer.scores, *map(repeat, of_session)))


def _report(output: Path, sessions: int | None, resumed: int, *, complete_before: bool = False) -> BulkReport:
    failures = failures_file(output)
    failed = 0
    if failures.exists():
        with failures.open("rb") as lines:
            failed = sum(1 for _ in lines)
    return BulkReport(output, sessions, failed, resumed, failures if failed else None, complete_before)
