"""exclude, allow and exclude_seen → per session a list of wire ids, or a flag.

The rule for `exclude` and `allow` of several sessions: a collection of ids counts for all of them; a
list that holds a collection (or None) for each session counts per session. Ids are never
collections, so that the two cannot be mistaken for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Optional, Union, cast

import numpy as np

from nextitem_bundle.signature import Feature, Signature
from nextitem_bundle.wire import NULL_INT64
from nextitem_client._exceptions import InvalidOption, UnsupportedOption
from nextitem_client._wire.values import ENCODERS, NULL_BYTES, ValueRefused, encode_plain, is_list, show

ItemIds = Union[Sequence[Any], Set[Any], "np.ndarray[Any, Any]"]
"""Raw item ids, as in the training data: a list, tuple, set, numpy array, pandas Series …"""
ItemIdsPerSession = Union[ItemIds, Sequence[Optional[ItemIds]]]
"""One collection for all sessions, or a list with one collection (or None) for each session."""

EXCLUDE, ALLOW, EXCLUDE_SEEN = "exclude_item_ids", "allow_item_ids", "exclude_seen"


@dataclass(frozen=True)
class Filters:
    """What was asked for, one entry per session; None where a filter was not asked for at all."""

    exclude: list[list[Any]] | None = None
    allow: list[list[Any]] | None = None
    exclude_seen: list[bool] | None = None

    def part(self, start: int, end: int) -> Filters:
        """The filters of the sessions `start` to `end`."""
        return Filters(
            self.exclude[start:end] if self.exclude is not None else None,
            self.allow[start:end] if self.allow is not None else None,
            self.exclude_seen[start:end] if self.exclude_seen is not None else None,
        )


NO_FILTERS = Filters()


def read_filters(
    signature: Signature, sessions: int, exclude: Any, allow: Any, exclude_seen: Any, one: bool
) -> Filters:
    """Check and encode the filters of `sessions` sessions; `one`: of recommend(), which takes no lists of lists.

    Raises InvalidOption, UnsupportedOption.
    """
    rows: dict[str, list[list[Any]] | None] = {}
    for name, tensor, given in (("exclude", EXCLUDE, exclude), ("allow", ALLOW, allow)):
        rows[name] = None
        if given is not None:
            _require_option(signature, tensor, f"{name}=…")
            rows[name] = _rows(name, given, signature, sessions, one)
    flags = _flags(exclude_seen, sessions, one)
    if flags is not None:
        _require_option(signature, EXCLUDE_SEEN, f"exclude_seen={exclude_seen!r}")
    return Filters(rows["exclude"], rows["allow"], flags)


def _require_option(signature: Signature, option: str, given: str) -> None:
    if option not in signature.options:
        known = ", ".join(sorted(signature.options)) or "none"
        raise UnsupportedOption(
            f"{given} was given, but this model was exported without the option {option} (it has: {known}). "
            "Leave it away, or export the model again with a nextitem-export that has filters."
        )


def _rows(name: str, given: Any, signature: Signature, sessions: int, one: bool) -> list[list[Any]]:
    item = next(feature for feature in signature.features if feature.name == signature.item_column)
    entries = _entries(name, given)
    per_session = [entry is None or _is_collection(entry) for entry in entries]
    if not one and _one_each(entries, sessions):
        if not all(per_session):
            at = per_session.index(False)
            raise InvalidOption(
                f"{name} mixes ids and lists of ids (entry {at} is {show(entries[at])}); expected are ids alone, "
                "for all sessions, or one list of ids (or None) per session."
            )
        if len(entries) != sessions:
            raise InvalidOption(
                f"{name} holds {len(entries)} lists of ids for {sessions} sessions; expected is one list (or None) "
                "per session, or one list of ids for all."
            )
        return [
            [] if entry is None else _encode(f"{name} of session {index}", name, entry, item, signature)
            for index, entry in enumerate(entries)
        ]
    row = _encode(name, name, entries, item, signature)
    return [row] * sessions


def _one_each(entries: list[Any], sessions: int) -> bool:
    """Whether these are collections, one per session, rather than ids; None alone is no id either."""
    if any(_is_collection(entry) for entry in entries):
        return True
    return len(entries) == sessions and all(entry is None for entry in entries)


def _entries(name: str, given: Any) -> list[Any]:
    if not _is_collection(given):
        raise InvalidOption(
            f"{name} is {show(given)} ({type(given).__name__}); expected is a list of item ids, or None for no rule."
        )
    return _listed(given)


def _is_collection(value: Any) -> bool:
    return is_list(value) or isinstance(value, (set, frozenset, Set))


def _listed(collection: Any) -> list[Any]:
    if isinstance(collection, np.ndarray):
        return cast("np.ndarray[Any, Any]", collection).tolist()
    return list(cast("Iterable[Any]", collection))


def _encode(where: str, name: str, given: Any, item: Feature, signature: Signature) -> list[Any]:
    encoded = dict.fromkeys(_encoded_ids(where, _listed(given), item))  # in order, each once
    for null in (NULL_BYTES, NULL_INT64):
        encoded.pop(null, None)
    if len(encoded) > signature.max_filter_ids:
        raise InvalidOption(
            f"{where} holds {len(encoded)} ids; this model takes at most {signature.max_filter_ids} per session. "
            "Send those that matter for this session."
        )
    if name == "allow" and not encoded:
        raise InvalidOption(
            f"{where} holds no id, so that nothing could be recommended; give the allowed ids, or None for no rule."
        )
    return list(encoded)


def _encoded_ids(where: str, values: list[Any], item: Feature) -> list[Any]:
    plain = encode_plain(item.kind, values)
    if plain is not None:
        return plain
    encoded: list[Any] = []
    for value in values:
        try:
            encoded.append(ENCODERS[item.kind](value))
        except ValueRefused as refused:
            raise InvalidOption(
                f"{where} holds {show(value)} ({type(value).__name__}); expected is {refused}, "
                f"as {item.name} is a {item.kind} in this model."
            ) from None
    return encoded


def _flags(given: Any, sessions: int, one: bool) -> list[bool] | None:
    if isinstance(given, (bool, np.bool_)):
        return [True] * sessions if given else None
    if not one and is_list(given):
        flags = _listed(given)
        if len(flags) == sessions and all(isinstance(flag, (bool, np.bool_)) for flag in flags):
            return [bool(flag) for flag in flags]
    expected = "True or False" if one else f"True or False, or a list of {sessions} of them, one per session"
    raise InvalidOption(f"exclude_seen is {show(given)} ({type(given).__name__}); expected is {expected}.")
