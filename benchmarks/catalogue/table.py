"""The figures of `python -m benchmarks.catalogue` as the Markdown tables that README.md shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WAYS = {
    "exact": "exact",
    "int8": "int8, ranked exactly",
    "ann": "index, ranked exactly",
    "ort": "ONNX Runtime, Gemm and TopK",
    "torch": "torch, product and topk",
}


def markdown(report: Mapping[str, Any], sizes: Mapping[str, int], targets: Mapping[str, tuple[str, float]]) -> str:
    """Times and recall, memory, targets."""
    metrics = report["metrics"]
    measured = [size for size in sizes if f"exact_{size}.ms_b1" in metrics]

    def figure(key: str, form: str) -> str:
        return format(metrics[key], form) if key in metrics else "-"

    times = [
        [
            f"{sizes[size]:,}",
            title,
            *(figure(f"{way}_{size}.{key}", ".3f") for key in ("ms_b1", "ms_b32")),
            figure(f"{way}_{size}.speedup", ".2f"),
            figure(f"{way}_{size}.recall20", ".4f"),
        ]
        for size in measured
        for way, title in _WAYS.items()
        if f"{way}_{size}.ms_b1" in metrics
    ]
    memory = [
        [
            f"{sizes[size]:,}",
            _WAYS[way],
            *(figure(f"{way}_{size}.{key}", ",.0f") for key in ("private_mb", "mapped_mb", "build_s")),
        ]
        for size in measured
        for way in ("exact", "int8", "ann")
        if f"{way}_{size}.ms_b1" in metrics
    ]
    bandwidth = [
        [
            f"{sizes[size]:,}",
            figure(f"read_{size}.gb_s", ".1f"),
            figure(f"read_{size}.ms_b1", ".2f"),
            figure(f"exact_{size}.over_bandwidth", ".2f"),
        ]
        for size in measured
    ]
    judged = [
        [f"`{key}`", f"{sign} {wanted}", figure(key, ""), _verdict(metrics.get(key), sign, wanted)]
        for key, (sign, wanted) in targets.items()
    ]
    machine = report["machine"]
    parts = [
        _table(["items", "ms of processor time a session", "batch of 1", "of 32", "times faster", "recall@20"], times),
        _table(["items", "memory beyond the imports, MB", "private", "mapped, shared", "export, s"], memory),
        _table(["items", "read, GB/s", "one read of the table, ms", "exact over it"], bandwidth),
        _table(["target", "", "found", "met"], judged),
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load_1m']} at the start and "
        f"{machine['load_1m_at_the_end']} at the end; commit {report['commit']}; {report['rounds']} rounds.",
    ]
    if not report["trained"]:
        parts.append("Random vectors: run `python -m benchmarks.catalogue.vectors` for recall and for the index.")
    return "\n\n".join(parts)


def _verdict(found: float | None, sign: str, wanted: float) -> str:
    if found is None:
        return "not measured"
    return "yes" if (found >= wanted if sign == ">=" else found <= wanted) else "NO"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (heading, ["---"] * len(heading), *rows)]
    return "\n".join(lines)
