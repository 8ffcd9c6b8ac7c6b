"""Names use the field's terms: none of a module, a class or a function is a word that this project once had for one of them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.repository_files import ROOT, our_files, text_of

#: A word that a name may not have in it, and what to write.
WORDS = {
    "piece|pieces": "segment, chunk or micro_batch",
    "assist|assisting|assistant": "worker",
    "arrival|arrive": "shape_guard",
    "together|joining": "batching",
    "pace": "load_shedding",
    "tally|tallies": "counters",
    "truth|judge": "reference",
    "ranker": "retrieval",
    "trail": "lineage",
    "settle": "finalize",
    "meaning": "errors",
    "inquiry": "health",
    "telling": "console",
    "asking|asker": "raw_client",
    "drawing": "strategies",
    "packing": "encoding",
    "approach|approaches": "objective",
    "turned": "perturbed",
}


def names_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of the module, its classes and its functions, but for tests, which read as sentences."""
    yield 1, path.stem
    for node in ast.walk(ast.parse(text_of(path) or "")):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith(
            "test_"
        ):
            yield node.lineno, node.name


@cache
def all_names() -> list[tuple[str, str]]:
    """Where each name is, and the name."""
    paths = [path for path in our_files() if path.suffix == ".py"]
    return [(f"{path.relative_to(ROOT)}:{line} {name}", name) for path in paths for line, name in names_of(path)]


def words_of(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_")


@pytest.mark.parametrize("words", WORDS)
def test_no_name_has_a_word_of_its_own_for_what_the_field_has_one_for(words):
    found = [place for place, name in all_names() if set(words.split("|")) & set(words_of(name))]
    assert not found, f"write {WORDS[words]}: {', '.join(found)}"


def test_words_are_found_in_names():
    assert words_of("_HTTPPace") == ["httppace"]
    assert words_of("MicroBatchTrainer") == ["micro", "batch", "trainer"]
    assert words_of("__keep_asking__") == ["keep", "asking"]
