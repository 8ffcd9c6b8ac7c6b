"""The README's request with curl, and whether its answer is one."""

import json
import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq

from .console import fail
from .engine import ROOT

_REQUEST = re.compile(r"<!-- test: curl -->\s*```\w*\n(.*?)```", re.DOTALL)


def readme_request(readme: Path) -> tuple[str, str]:
    """The README's curl command, and the model that it asks."""
    found = _REQUEST.search(readme.read_text(encoding="utf-8")) if readme.exists() else None
    if found is None:
        fail(f"{readme} has no code block after <!-- test: curl -->; the request is taken from it.")
    model = re.search(r"/v2/models/([\w.-]+)/", found[1])
    if model is None:
        fail(f"{readme}: the request asks no model (/v2/models/NAME/infer): {found[1]}")
    return found[1], model[1]


def asked(request: str, port: str) -> list[str]:
    """The raw item ids that the README's request brings from the server on this port; fails for anything else."""
    command = re.sub(r"(localhost|127\.0\.0\.1):8000", f"127.0.0.1:{port}", request)
    answer = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    return _checked(answer.stdout)


def _checked(text: str) -> list[str]:
    try:
        outputs = {tensor["name"]: tensor["data"] for tensor in json.loads(text)["outputs"]}
        item_ids = [str(item_id) for item_id in outputs["item_ids"]]
    except (ValueError, KeyError, TypeError) as error:
        fail(f"the answer is not one with item_ids ({error!r}): {text[:500]}")
    foreign = [item_id for item_id in item_ids if item_id not in _demo_item_ids()]
    if not item_ids or foreign:
        fail(f"raw item ids of demo/clicks.parquet were expected, and {foreign} came: {text[:500]}")
    return item_ids


def _demo_item_ids() -> set[str]:
    table = pq.read_table(ROOT / "demo/clicks.parquet", columns=["item_id"])
    return set(map(str, table["item_id"].unique().to_pylist()))
