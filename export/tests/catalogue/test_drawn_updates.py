"""Drawn sequences of updates of a real bundle: each is proved, and answers with what is listed then and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.tests.support.served import Served
from nextitem_export import update_catalogue

IDS = st.sampled_from([f"ø{number}" for number in range(12)] + ["x1", "x2", "x3"])
UPDATES = st.lists(
    st.tuples(st.booleans(), st.dictionaries(IDS, st.sampled_from("ab"), min_size=1)), min_size=1, max_size=3
)
#: Each example writes versions; ten for every day.
some_updates = settings(max_examples=8) if settings.default.derandomize else settings(max_examples=40)


@pytest.fixture(scope="module")
def fused(export_shop):
    return export_shop(layout="fused")


@some_updates
@given(updates=UPDATES)
def test_any_updates_of_a_bundle(fused, sample, updates):
    session = sample[sample.session_id == sample.session_id.iloc[0]]
    with tempfile.TemporaryDirectory() as made:
        repository, file = Path(made) / "repository", Path(made) / "items.parquet"
        shutil.copytree(fused.repository, repository)
        listed = known(repository, session, 1)
        version = 1
        for partial, kinds in updates:
            pd.DataFrame({"item_id": [*kinds], "kind": [*kinds.values()]}).to_parquet(file)
            options = {"partial": partial, "remove_most": True, "group": "kind", "version": version}
            done = update_catalogue(repository, "shop", file, **options)
            listed = listed | set(kinds) if partial else set(kinds)
            assert done.items == len(listed)
            version = done.version or version
            assert known(repository, session, version) == listed
            asked = [session.assign(item_id=item) for item in ("ø1", "x1", "never seen")]
            status = Served(repository, "shop", version).ask(asked)["status"].ravel().tolist()
            assert status == ["ok" if item in listed else "cold" for item in ("ø1", "x1", "never seen")]


def known(repository: Path, session: pd.DataFrame, version: int) -> set[str]:
    """The items that a version recommends at all."""
    answer = Served(repository, "shop", version).ask([session], k=100)
    return {*answer["item_ids"].ravel().tolist()} - {""}
