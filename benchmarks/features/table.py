"""The figures of `python -m benchmarks.features` as the Markdown tables that README.md leads with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def markdown(
    report: Mapping[str, Any],
    batches: Sequence[int],
    vocabularies: Mapping[str, tuple[str, int]],
    targets: Mapping[str, tuple[str, float]],
) -> str:
    """Times, memory and targets."""
    metrics = report["metrics"]
    cases = {"": "the demo's workflow", **{f"_vocab_{suffix}": title for suffix, (title, _) in vocabularies.items()}}
    ways = ("compiled", "graph", "numpy", "nvtabular", "nvtabular_dataset")
    times = [
        [title, batch]
        + [f"{metrics[f'{way}_busy_us_b{batch}{suffix}']:,.0f}" for way in ways]
        + [f"{metrics[f'speedup_b{batch}{suffix}']:,} times"]
        for suffix, title in cases.items()
        for batch in batches
    ]
    memory = [
        [
            title,
            f"{metrics[f'load_s{suffix}']:.2f} s, {_held(metrics, '', suffix)}",
            f"{metrics[f'load_numpy_s{suffix}']:.3f} s, {_held(metrics, '_numpy', suffix)}",
        ]
        for suffix, title in cases.items()
        if f"load_numpy_s{suffix}" in metrics
    ]
    judged = [
        [f"`{name}`", f"{sign} {wanted:,}", *_judged(metrics.get(name), sign, wanted)]
        for name, (sign, wanted) in targets.items()
    ]
    machine = report["machine"]
    return "\n\n".join(
        [
            _table(
                [
                    "µs of processor time",
                    "sessions",
                    "compiled",
                    "graph alone",
                    "numpy",
                    "NVTabular",
                    "NVTabular, Dataset",
                    "faster",
                ],
                times,
            ),
            _table(["load, memory beyond the imports (peak)", "ONNX", "numpy"], memory),
            _table(["target", "", "found", "met"], judged),
            f"{machine['processor']}, {machine['cores']} cores, load {machine['load_1m']} at the start and "
            f"{machine['load_1m_at_the_end']} at the end; commit {report['commit']}; {report['rounds']} rounds.",
        ]
    )


def _held(metrics: Mapping[str, float], form: str, suffix: str) -> str:
    imports = metrics[f"import_rss{form}_mb{suffix}"]
    held, peak = (metrics[f"{kind}{form}_mb{suffix}"] - imports for kind in ("rss", "peak_rss"))
    return f"{held:,.0f} MB ({peak:,.0f})"


def _judged(value: float | None, sign: str, wanted: float) -> tuple[str, str]:
    """A figure and whether it meets its target."""
    if value is None:
        return "-", "not measured"
    return f"{value:,}", "yes" if (value >= wanted if sign == ">=" else value <= wanted) else "NO"


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
