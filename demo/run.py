"""The demo: train on a shop's clicks, export, serve, and ask for every session that was held out.

Shows the offline metrics, the parity table, five sessions with what was recommended and clicked, and the hit rate at 20
offline, over HTTP and over gRPC. The three are the same number: the served answers are the offline ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
NAME = "shop"
K = 20
SHOWN = 5
#: --smoke takes one session in so many.
SMOKE_SHARE = 20
TIE = 1e-5

console = Console()


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Held-out sessions of at least two clicks: the clicks before the last, and the last item."""

    sessions: list[pd.DataFrame]
    targets: list[object]


def main() -> int:
    """Run the demo. Returns 0 where all answers are the offline ones."""
    # NVTabular warns on every use that it runs on a CPU, and that TensorFlow is not installed.
    warnings.filterwarnings("ignore", category=UserWarning, module="merlin|nvtabular")
    arguments = _arguments()
    if not arguments.smoke:
        return _demo(ROOT / "demo" / "clicks.parquet", ROOT / "runs" / "demo", ROOT / "model_repository", arguments)
    with tempfile.TemporaryDirectory() as made:
        few = Path(made) / "clicks.parquet"
        clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
        clicks[clicks.session_id % SMOKE_SHARE == 0].to_parquet(few)
        arguments.epochs = arguments.epochs or 1
        return _demo(few, Path(made) / "run", Path(made) / "model_repository", arguments)


def _demo(clicks: Path, run: Path, repository: Path, arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    _step("1. Train", "nextitem-train", "--data", clicks, "--config",
          ROOT / "demo" / "config.toml", "--output", run, "--overwrite", *_overrides(arguments))  # fmt: skip
    _step("2. Export, and prove it", "nextitem-export", "--run", run, "--repository", repository,
          "--name", NAME, "--replace")  # fmt: skip

    console.rule("3. Serve and ask")
    # Imported late: the first lines of the demo should not wait for libraries.
    from nextitem_client import Client
    from nextitem_server import TritonServer
    from nextitem_training.offline import OfflinePredictor
    from nextitem_training.run_directory import RunDirectory

    opened = RunDirectory.open(run)
    held_out = _held_out(opened, clicks)
    reference = OfflinePredictor(opened)
    offline = _offline(reference, held_out)
    answers = {}
    with TritonServer(repository) as server:
        console.print(f"Triton is ready at {server.http_url} and {server.grpc_url}", highlight=False)
        for protocol in ("http", "grpc"):
            with Client(getattr(server, f"{protocol}_url"), model=NAME) as client:
                answers[protocol] = _ask(client, held_out, protocol)
    _show_sessions(held_out, answers["http"])
    differing = {protocol: _differing(reference, offline, given) for protocol, given in answers.items()}
    _show_hit_rates(held_out, reference, offline, answers, differing)
    console.print(f"The demo took {time.monotonic() - started:.0f} s.", highlight=False)
    return 1 if any(differing.values()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--body", help="instead of the configuration's")
    parser.add_argument("--pretraining", help="instead of the configuration's")
    parser.add_argument("--epochs", type=int, help="instead of the configuration's")
    parser.add_argument("--smoke", action="store_true", help="one session in 20, one epoch: does it run at all?")
    return parser.parse_args()


def _overrides(arguments: argparse.Namespace) -> list[str]:
    given = {name: getattr(arguments, name) for name in ("body", "pretraining", "epochs")}
    given = {name: value for name, value in given.items() if value is not None}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def _step(title: str, command: str, *arguments: object) -> None:
    """Run one of the project's commands, its output shown as it comes."""
    console.rule(title)
    shown = [str(a.relative_to(ROOT) if isinstance(a, Path) and a.is_relative_to(ROOT) else a) for a in arguments]
    console.print("$ " + " ".join([command, *shown]), highlight=False, soft_wrap=True)
    with subprocess.Popen([BIN / command, *map(str, arguments)], cwd=ROOT) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # it got Ctrl-C as well, and says what became of it
            process.wait()
            raise
    if code:
        sys.exit(code)


def _held_out(run, file: Path) -> HeldOut:
    """The sessions that the offline metrics were measured on."""
    schema = run.schema
    clicks = pd.read_parquet(file)
    cutoff = pd.Timestamp(json.loads((run.path / "metrics.json").read_text())["cutoff"])
    start = cast("pd.Series", clicks.groupby(schema.session_column)[schema.time_column].transform("min"))
    groups = clicks.loc[start > cutoff].groupby(schema.session_column, sort=False)
    columns = [feature.name for feature in schema.raw_features if feature.name in clicks]
    whole = [session.sort_values(schema.time_column, kind="stable") for _, session in groups if len(session) >= 2]
    return HeldOut(
        [session[columns].iloc[:-1].reset_index(drop=True) for session in whole],
        [session[schema.item_column].iloc[-1] for session in whole],
    )


def _offline(reference, held_out: HeldOut) -> np.ndarray:
    """Scores [B, V] by NVTabular itself and the eager model."""
    numbered = [session.assign(session_id=row) for row, session in enumerate(held_out.sessions)]
    return reference.scores(pd.concat(numbered, ignore_index=True), session_ids=range(len(numbered))).scores


def _ask(client, held_out: HeldOut, protocol: str) -> list:
    sessions = [session.to_dict("list") for session in held_out.sessions]
    step = client.signature.max_sessions_per_request
    given = []
    for start in track(range(0, len(sessions), step), f"asking over {protocol}", console=console):
        given += client.recommend_many(sessions[start : start + step], k=K)
    return given


def _differing(reference, offline: np.ndarray, given: list) -> int:
    """How many answers are not the offline ranking; items of (nearly) equal score may swap."""
    code_of = {item: code for code, item in enumerate(reference.item_ids.tolist())}
    wrong = 0
    for scores, answer in zip(offline, given, strict=True):
        true = scores[[code_of[item] for item in answer.item_ids]]
        best = np.sort(scores)[::-1][:K]
        wrong += len(answer.item_ids) != K or len(set(answer.item_ids)) != K or bool((np.abs(true - best) > TIE).any())
    return wrong


def _show_sessions(held_out: HeldOut, given: list) -> None:
    table = Table(title="five sessions that the model has never seen", show_lines=True)
    for heading in ("clicked", f"top 5 of {K}", "clicked next", f"among the top {K}?"):
        table.add_column(heading)
    for row in np.linspace(0, len(given) - 1, SHOWN).astype(int):
        clicked, target, answer = held_out.sessions[row].item_id, held_out.targets[row], given[row]
        rank = answer.item_ids.index(target) + 1 if target in answer.item_ids else None
        table.add_row(
            " ".join(clicked.tail(8)) if len(clicked) <= 8 else "… " + " ".join(clicked.tail(8)),
            " ".join(answer.item_ids[:5]),
            str(target),
            f"yes, {rank}." if rank else "no",
        )
    console.print(table)


def _show_hit_rates(held_out: HeldOut, reference, offline: np.ndarray, answers: dict, differing: dict) -> None:
    best = np.argsort(-offline, axis=1, kind="stable")[:, :K]
    pairs = list(zip(reference.item_ids[best].tolist(), held_out.targets, strict=True))
    rates = {"offline (NVTabular and the eager model)": (np.mean([t in items for items, t in pairs]), "")}
    for protocol, given in answers.items():
        hits = [t in answer.item_ids for answer, t in zip(given, held_out.targets, strict=True)]
        rates[f"served, {protocol.upper().replace('GRPC', 'gRPC')}"] = (np.mean(hits), str(differing[protocol]))
    table = Table(title=f"hit rate at {K} of {len(held_out.targets)} held-out sessions")
    table.add_column("answered by")
    table.add_column(f"hit rate at {K}", justify="right")
    table.add_column("rankings other than offline", justify="right")
    for name, (rate, wrong) in rates.items():
        table.add_row(name, f"{rate:.4f}", wrong)
    console.print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nThe demo was interrupted; what it had finished is in runs/ and model_repository/.")
