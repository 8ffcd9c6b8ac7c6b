"""The run directory: what training hands to export, as docs/run-directory.md writes it down.

Reading it needs neither NVTabular nor pandas until the workflow or the sample is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextitem_training.config import Config, config_from
from nextitem_training.errors import ConfigError, RunDirectoryError
from nextitem_training.schema import FORMAT_VERSION, SessionSchema

if TYPE_CHECKING:
    import numpy as np
    import nvtabular
    import pandas as pd
    import pyarrow
    import torch

    from nextitem_training.items.encodings import Encoding
    from nextitem_training.model import SessionModel

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SCHEMA = "schema.json"
WORKFLOW = "workflow"
SAMPLE = "sample.parquet"
METRICS = "metrics.json"
ITEMS = "items.parquet"
ITEMS_WORKFLOW = "items_workflow"
_PARTS = (CONFIG, WEIGHTS, SCHEMA, WORKFLOW, SAMPLE, METRICS)

_LIBRARIES = ("nextitem-training", "nvtabular", "merlin-core", "pandas", "numpy", "pyarrow")
_LIBRARIES += ("torch", "transformers")


@dataclass(frozen=True)
class RunDirectory:
    """A finished training run."""

    path: Path
    config: Config
    schema: SessionSchema

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Opens a run directory. Raises RunDirectoryError where a part is missing or malformed."""
        path = Path(path)
        if not path.is_dir():
            raise RunDirectoryError(f"There is no run directory {path}; make one with nextitem-train --output {path}.")
        _refuse_incomplete(path, _PARTS)
        schema = SessionSchema.from_json((path / SCHEMA).read_text(encoding="utf-8"))
        if schema.items is not None:
            _refuse_incomplete(path, (ITEMS, ITEMS_WORKFLOW) if schema.items.attributes else (ITEMS,))
        return cls(path, _read_config(path / CONFIG), schema)

    def load_weights(self) -> dict[str, torch.Tensor]:
        """Loads the weights by name, on the CPU. Raises RunDirectoryError where they cannot be read or are not finite."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from nextitem_training.evaluation.finite import not_finite

        try:
            weights = load_file(self.path / WEIGHTS)
        except SafetensorError as error:
            raise RunDirectoryError(
                f"{WEIGHTS} in {self.path} cannot be read ({error}). Copy the whole folder, or train again."
            ) from error
        wrong = not_finite(weights)
        if wrong:
            raise RunDirectoryError(
                f"{WEIGHTS} in {self.path} holds NaN or infinite weights, in {wrong}: its training diverged. Train again, with "
                "a lower [training] learning_rate."
            )
        return weights

    def load_model(self) -> SessionModel:
        """Loads the trained model on the CPU, in evaluation mode. Raises RunDirectoryError where the weights are none."""
        from nextitem_training.model import SessionModel

        model, weights = SessionModel.of(self.config, self.schema), self.load_weights()
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise RunDirectoryError(
                f"{WEIGHTS} in {self.path} does not fit {CONFIG} and {SCHEMA}: {error}. "
                "The files have to come from one training run."
            ) from error
        return model.eval()

    def load_workflow(self) -> nvtabular.Workflow:
        """Loads the fitted workflow. Runs code from its pickle: only for one's own runs."""
        from nextitem_training.workflow import load

        return load(self.path / WORKFLOW)

    def item_ids(self, workflow: nvtabular.Workflow) -> np.ndarray:
        """Raw ids of the items by code from 3, object or int64 [V - 3]. workflow: as `load_workflow` gives it."""
        from nextitem_training.workflow import vocabulary

        return vocabulary(workflow, self.schema.item_column).values

    def sample(self) -> pd.DataFrame:
        """Raw interactions of held-out sessions, in the types that the workflow takes."""
        import pandas as pd
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(self.path / SAMPLE)
        frame = table.to_pandas(types_mapper={_int64(): pd.Int64Dtype()}.get)
        return _whole_integers(frame)

    def items(self) -> pyarrow.Table | None:
        """The items table as training saw it; None where there was none."""
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.path / ITEMS) if self.schema.items else None

    def load_items_workflow(self) -> nvtabular.Workflow | None:
        """Loads the fitted workflow of the items table, as `load_workflow`; None where no attribute needs one."""
        from nextitem_training.workflow import load

        return load(self.path / ITEMS_WORKFLOW) if self.schema.items and self.schema.items.attributes else None

    def item_encodings(self) -> tuple[Encoding, ...]:
        """How each attribute of the items table is encoded, in the schema's order; () without a table."""
        from nextitem_training.items.workflow import encodings_of

        return encodings_of(self.load_items_workflow(), self.schema.items) if self.schema.items else ()

    def metrics(self) -> dict[str, Any]:
        """The offline evaluation as metrics.json holds it."""
        return json.loads((self.path / METRICS).read_text(encoding="utf-8"))


def write(
    folder: Path,
    *,
    config: Config,
    schema: SessionSchema,
    model: SessionModel,
    save_workflow: Callable[[Path], None],
    sample: pd.DataFrame,
    metrics: Mapping[str, Any],
    items: pyarrow.Table | None = None,
    save_items_workflow: Callable[[Path], None] | None = None,
) -> None:
    """Writes all parts into an existing empty folder; `save_workflow` and `save_items_workflow` get the path of their part.

    Raises RunDirectoryError where weights or metrics are not finite.
    """
    import pyarrow
    import pyarrow.parquet
    from safetensors.torch import save_file

    from nextitem_training.evaluation.finite import not_finite

    wrong = not_finite(model.state_dict()) or ", ".join(_not_finite_metrics(metrics))
    if wrong:
        raise RunDirectoryError(
            f"No run directory is written, since {wrong} is NaN or infinite: the training diverged. Lower [training] "
            "learning_rate."
        )
    described = {
        "format_version": FORMAT_VERSION,
        **dataclasses.asdict(config),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=2), encoding="utf-8")
    (folder / SCHEMA).write_text(schema.to_json(), encoding="utf-8")
    (folder / METRICS).write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    table = pyarrow.Table.from_pandas(sample, preserve_index=False)
    pyarrow.parquet.write_table(table, folder / SAMPLE, compression="zstd")
    save_workflow(folder / WORKFLOW)
    if items is not None:
        pyarrow.parquet.write_table(items, folder / ITEMS, compression="zstd")
    if save_items_workflow is not None:
        save_items_workflow(folder / ITEMS_WORKFLOW)


def _refuse_incomplete(path: Path, parts: Iterable[str]) -> None:
    missing = [part for part in parts if not (path / part).exists()]
    if missing:
        raise RunDirectoryError(
            f"The run directory {path} is incomplete: {', '.join(missing)} is missing. "
            "Copy the whole folder, or train again."
        )


def _not_finite_metrics(metrics: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The names of the numbers that are not finite."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _not_finite_metrics(value, f"{before}{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{METRICS}: {before}{name}"


def refuse_existing(path: str | Path, *, overwrite: bool) -> None:
    """Raises RunDirectoryError where `path` is taken: by anything, or by no run directory.

    A folder is overwritten only if it is a run directory, so that a slip of the keyboard cannot
    delete another one.
    """
    path = Path(path)
    if not path.exists():
        return
    if not overwrite:
        raise RunDirectoryError(f"The output {path} exists; choose another --output or pass --overwrite.")
    if not (path / SCHEMA).is_file() or not (path / WORKFLOW).is_dir():
        raise RunDirectoryError(
            f"The output {path} is no run directory, so --overwrite leaves it alone; choose another --output."
        )


@contextlib.contextmanager
def new_run_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Gives a folder beside `path` to write into and renames it at the end.

    Where the block raises, the folder is removed and `path` stays as it was. Raises
    RunDirectoryError where `path` is taken, see `refuse_existing`.
    """
    path = Path(path).absolute()
    refuse_existing(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield building
        building.chmod(0o755)  # mkdtemp makes it private
        refuse_existing(path, overwrite=overwrite)
        if path.exists():
            old = building.with_suffix(".old")
            path.rename(old)
            building.rename(path)
            shutil.rmtree(old)
        else:
            building.rename(path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _read_config(path: Path) -> Config:
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
        version = tables.pop("format_version")
        tables.pop("libraries")
    except (ValueError, KeyError, AttributeError) as error:
        raise RunDirectoryError(f"{path} cannot be read ({type(error).__name__}: {error}); train again.") from error
    if version != FORMAT_VERSION:
        raise RunDirectoryError(
            f"{path} has format version {version}, this program reads {FORMAT_VERSION}. "
            "Train again, or install the version that wrote it."
        )
    try:
        return config_from(tables)
    except ConfigError as error:
        raise RunDirectoryError(f"{path} does not fit this program: {error}") from error


def _int64() -> Any:
    import pyarrow

    return pyarrow.int64()


def _whole_integers(frame: pd.DataFrame) -> pd.DataFrame:
    """Int64 without nulls is plain int64, as training read it."""
    for name in frame.columns:
        if str(frame[name].dtype) == "Int64" and not frame[name].isna().to_numpy().any():
            frame[name] = frame[name].astype("int64")
    return frame
