"""The figures of `python -m benchmarks.serving`: metrics by name, the tables, the plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Requests a second at which processor time is compared; where that is too much for a server; and the published bar's.
COMMON_RATE, SLOW_RATE, HIGH_RATE = 200, 10, 1000
PERCENTILES = ("p50", "p90", "p99", "p995")
_VERDICTS = {True: "yes", False: "NO", None: "not measured"}
#: What becomes metrics.
_MEASURED = ("fixed", "searched", "inprocess", "beyond", "many", "files")
_SEARCHED = {"p99_50ms": "max_rate_p99_50ms", "p90_7ms": "max_rate_p90_7ms"}


def metrics_of(found: Mapping[str, Any], targets: Mapping[str, tuple[str, float]]) -> dict[str, Any]:
    """What the command found as the report that is printed and stored: medians over the rounds, and their spread."""
    metrics: dict[str, float] = {}
    spread: dict[str, float] = {}

    def add(name: str, values: Sequence[float], digits: int) -> None:
        middle = statistics.median(values)
        metrics[name] = round(middle, digits) if math.isfinite(middle) else math.inf
        if len(values) > 1 and math.isfinite(max(values)) and middle:
            spread[name] = round((max(values) - min(values)) / middle, 2)

    for server, rates in found["fixed"].items():
        for rate, points in rates.items():
            for name in PERCENTILES:
                add(f"{server}.{name}_ms_at_{rate}", [point.latency_ms[name] for point in points], 2)
            add(f"{server}.cpu_us_at_{rate}", [point.cpu_us for point in points], 0)
            add(f"{server}.generator_us_at_{rate}", [point.generator_us for point in points], 0)
            add(f"{server}.generator_late_p99_ms_at_{rate}", [point.late_ms for point in points], 2)
        usual = COMMON_RATE if f"{server}.p50_ms_at_{COMMON_RATE}" in metrics else SLOW_RATE
        for name in (*(f"{one}_ms" for one in PERCENTILES), "cpu_us"):
            _copy(metrics, spread, f"{server}.{name}_at_{usual}", f"{server}.{name}")
        add(f"{server}.memory_mb", [point.memory_mb for points in rates.values() for point in points][-1:], 0)
    for server, searches in found["searched"].items():
        for key, name in _SEARCHED.items():
            add(f"{server}.{name}", [one[key] for one in searches], 1)
    for name in ("p50_ms", "graph_p50_ms", "kernel_us", "step_us"):
        metrics[f"inprocess.{name}"] = found["inprocess"][name]
    spread |= {f"inprocess.{name}": value for name, value in found["inprocess"]["spread"].items()}
    if found["many"]:
        add("many.sessions_per_s", found["many"], 0)
    for name, rate in found["files"].items():
        metrics[f"bulk.{name}_sessions_per_s"], spread[f"bulk.{name}_sessions_per_s"] = (
            rate["sessions_per_s"],
            rate["spread"],
        )
    _ratios(metrics)
    metrics |= {name: round(value, 3) for name, value in found["beyond"].items()}
    return {
        "metrics": metrics,
        "spread": spread,
        "met": {name: _met(metrics[name], *wanted) for name, wanted in targets.items() if name in metrics},
        "targets": {name: list(wanted) for name, wanted in targets.items()},
        **{name: value for name, value in found.items() if name not in _MEASURED},
    }


def _ratios(metrics: dict[str, float]) -> None:
    ours = metrics.get("fused.max_rate_p99_50ms")
    for peer in ("nvtabular", "fastapi_torch", "fastapi_ort", "fastapi_torch_lean", "fastapi_ort_lean"):
        theirs = metrics.get(f"{peer}.max_rate_p99_50ms")
        if ours is not None and theirs is not None:
            metrics[f"rate_over_{peer}"] = round(ours / theirs, 2) if theirs else math.inf
    for suffix, rate in (("", ""), (f"_at_{HIGH_RATE}", f"_at_{HIGH_RATE}")):
        fused, noop = metrics.get(f"fused.cpu_us{rate}"), metrics.get(f"noop.cpu_us{rate}")
        if fused and noop:
            metrics[f"cpu_over_floor{suffix}"] = round(fused / (noop + metrics["inprocess.kernel_us"]), 2)
    metrics["bulk_over_onnxruntime"] = round(
        metrics["bulk.command_sessions_per_s"] / metrics["bulk.onnxruntime_sessions_per_s"], 2
    )
    ensemble = metrics.get("ensemble.max_rate_p99_50ms")
    if ours and ensemble is not None:
        metrics["ensemble_over_fused"] = round(ensemble / ours, 2)


def _copy(metrics: dict[str, float], spread: dict[str, float], source: str, target: str) -> None:
    for values in (metrics, spread):
        if source in values:
            values[target] = values[source]


def _met(value: float, sign: str, wanted: float) -> bool:
    return value >= wanted if sign == ">=" else value <= wanted


def markdown(report: Mapping[str, Any]) -> str:
    """The tables that README.md leads with."""
    metrics, rates = report["metrics"], report["size"]["rates"]
    summary = [
        [
            f"{title} `{name}`",
            *(_shown(metrics, f"{name}.{key}", digits) for key, digits in
              (("max_rate_p99_50ms", 0), ("max_rate_p90_7ms", 0), ("cpu_us", 0), ("memory_mb", 0))),
        ]
        for name, title in report["titles"].items()
    ]  # fmt: skip
    latency = [
        [f"`{name}`", *(_latencies(metrics, name, rate) for rate in rates)] for name, title in report["titles"].items()
    ]
    judged = [
        [f"`{name}`", f"{sign} {wanted:,}", _shown(metrics, name, 2), _VERDICTS[report["met"].get(name)]]
        for name, (sign, wanted) in report["targets"].items()
    ]
    headings = [
        "",
        "requests/s, p99 ≤ 50 ms",
        "requests/s, p90 ≤ 7 ms",
        "CPU µs a request",
        "memory MB",
    ]
    return "\n\n".join(
        [
            _table(headings, summary),
            _table(["p50 / p90 / p99 / p99.5 in ms at", *(f"{rate:,}/s" for rate in rates)], latency),
            _table(["target", "", "found", "met"], judged),
            _described(report),
        ]
    )


def _described(report: Mapping[str, Any]) -> str:
    metrics, machine = report["metrics"], report["machine"]
    late = [value for name, value in metrics.items() if ".generator_late_p99_ms_at_" in name]
    busy = [value for name, value in metrics.items() if name.endswith(f".generator_us_at_{HIGH_RATE}")]
    others = {name: metrics[name] for name in metrics if name.startswith(("rate_over", "cpu_over"))}
    lines = [
        f"CPU µs a request at {COMMON_RATE}/s ({SLOW_RATE}/s where that is too much); in process, one thread: "
        f"{metrics['inprocess.p50_ms']} ms a session, of it the graph {metrics['inprocess.graph_p50_ms']} ms "
        f"({metrics['inprocess.kernel_us']:,} µs of processor time).",
        f"The generator used {min(busy, default=0):,.0f} to {max(busy, default=0):,.0f} µs a request at {HIGH_RATE:,}/s; "
        f"99 % of requests were sent within {statistics.median(late):.2f} ms of their time in the middle trial. "
        f"All servers together used {report['idle_share_of_a_core']:.1%} of a core while nobody asked.",
        f"`nextitem-recommend` answers {metrics['bulk.command_sessions_per_s']:,.0f} sessions/s of a file, the graph alone "
        f"{metrics['bulk.onnxruntime_sessions_per_s']:,.0f}; the server "
        f"{_shown(metrics, 'many.sessions_per_s', 0) or '(not measured)'} with as many in a request as it takes.",
        *([", ".join(f"{name} {value}" for name, value in others.items()) + "."] if others else []),
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load_1m']} at the start and "
        f"{machine['load_1m_at_the_end']} at the end; commit {report['commit']}; {report['size']['rounds']} rounds, "
        f"{report['took_s'] / 60:.0f} minutes.",
    ]
    return "\n\n".join(lines)


def print_report(report: Mapping[str, Any]) -> None:
    """The tables on the terminal."""
    from rich.console import Console

    Console().print(markdown(report), highlight=False, soft_wrap=True, markup=False)


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Latency against rate: p50 whole, p99 dashed, both axes logarithmic; what was not answered is not drawn."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    for number, (name, title) in enumerate(report["titles"].items()):
        for share, style in (("p50", "-"), ("p99", "--")):
            points = sorted(_points(report["metrics"], name, share))
            if points:
                label = f"{title}" if share == "p50" else None
                axes.plot(
                    *zip(*points, strict=True), style, marker="o", markersize=3, color=f"C{number % 10}", label=label
                )
    for limit, what in ((7, "7 ms"), (50, "50 ms")):
        axes.axhline(limit, color="grey", linewidth=0.7)
        axes.annotate(what, (0.005, limit), xycoords=("axes fraction", "data"), color="grey", va="bottom", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="requests a second", ylabel="ms from the intended time to the answer")
    axes.set_ylim(0.3, 2000)
    ticks = [SLOW_RATE, *report["size"]["rates"]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title(
        f"p50 (whole) and p99 (dashed); {report['machine']['cores']} cores, commit {report['commit']}", fontsize=10
    )
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _points(metrics: Mapping[str, float], server: str, share: str) -> Iterable[tuple[float, float]]:
    beginning = f"{server}.{share}_ms_at_"
    for name, value in metrics.items():
        if name.startswith(beginning) and math.isfinite(value):
            yield float(name.removeprefix(beginning)), value


def _latencies(metrics: Mapping[str, float], server: str, rate: float) -> str:
    if f"{server}.p50_ms_at_{rate}" not in metrics:
        return ""
    return " / ".join(_shown(metrics, f"{server}.{share}_ms_at_{rate}", 1) for share in PERCENTILES)


def _shown(metrics: Mapping[str, float], name: str, digits: int) -> str:
    value = metrics.get(name)
    if value is None:
        return ""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "∞"


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
