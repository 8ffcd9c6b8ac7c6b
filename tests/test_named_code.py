"""Names of code that a page gives in backticks are names in the sources, so that no page keeps one that was changed."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.repository_files import FENCE, ROOT, our_files, text_of

#: Of Triton, systemd, Kubernetes, Hugging Face, RecBole and RecTools; a name that a reader chooses; one that is gone.
ELSEWHERE = {
    *("PriorityQueue", "RateLimiter", "PayloadSlotAvailable", "perf_analyzer"),
    *("quick_start", "run_recbole", "load_data_and_model", "item_inter_num_interval"),
    *("train_min_user_interactions", "use_key_padding_mask"),
    *("MemoryMax", "MemoryHigh", "MemoryCurrent", "shareProcessNamespace"),
    *(
        "cosine_with_restarts",
        "constant_with_warmup",
        "inverse_sqrt",
        "main_process_first",
        "TheOperator",
        "__version__",
    ),
}
WORD = re.compile(r"[A-Za-z_]\w*")


def looks_like_code(word: str) -> bool:
    return "_" in word[1:] or re.search("[a-z][A-Z]", word) is not None


def names_in(page: str) -> Iterator[str]:
    """The words in a page's backticks that no sentence would have."""
    for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", page)):
        yield from filter(looks_like_code, WORD.findall(span))


def pages() -> list[Path]:
    """All but the changelog, which names what is gone."""
    return [path for path in our_files() if path.suffix == ".md" and path != ROOT / "CHANGELOG.md"]


def test_every_name_is_one_of_the_sources():
    # What this test and the one of words list as gone is no source.
    lists = {Path(__file__), ROOT / "tests" / "test_words.py"}
    sources = [path for path in our_files() if path.suffix not in (".md", ".svg", ".lock") and path not in lists]
    known = {word for path in sources for word in WORD.findall(f"{path.name} {text_of(path) or ''}")}
    missing = [
        f"{path.relative_to(ROOT)} names {name}"
        for path in pages()
        for name in names_in(text_of(path) or "")
        # Halves of names stand before and after an ellipsis.
        if name not in known | ELSEWHERE and not name.startswith("_at_") and not name.endswith("_")
    ]
    assert not missing, "\n".join(missing)


def test_a_name_is_told_from_a_word():
    assert list(names_in("`step.json` has `form_reason`, by `ItemsStep.run`; `a word`, snake_case outside")) == [
        "form_reason",
        "ItemsStep",
    ]
