"""docs/README.md lists every page, docs/troubleshooting.md quotes real messages, and docs/your-data.md's files are read."""

import ast
import json
import re
from collections.abc import Iterator

import pytest

from nextitem_training.config import read_config
from nextitem_training.interactions import read_interactions
from tests.support.repository_files import ROOT, our_files, text_of

PACKAGES = ("bundle", "training", "export", "server", "client")
MESSAGE = re.compile(r"^### `(.+)`$", re.MULTILINE)
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
YOUR_DATA = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
ELLIPSIS = "…"


def test_each_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path.name for path in our_files() if path.parent == ROOT / "docs" and path.suffix == ".md"]
    missing = sorted(name for name in pages if name != "README.md" and f"]({name})" not in index)
    assert not missing, (
        f"docs/README.md does not link {', '.join(missing)}: add each with the question that it answers."
    )


def texts(source: str) -> Iterator[str]:
    """The texts of a module, f-strings with … for what they fill in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else ELLIPSIS for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def written() -> list[str]:
    """What the packages say, and what the script says that makes the environment, its lines joined."""
    modules = [path for path in our_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]
    found = [text for path in modules if "tests" not in path.parts for text in texts(text_of(path))]
    return [*found, re.sub(r'" \\\n\s*"', " ", text_of(ROOT / "scripts" / "bootstrap"))]


def is_said(message: str, said: list[str]) -> bool:
    """Whether one text has the message's parts between the …, in their order."""
    parts = [re.escape(part.strip()) for part in message.split(ELLIPSIS) if part.strip(" .,:;'")]
    pattern = re.compile(".*?".join(parts), re.DOTALL)
    return any(pattern.search(text) for text in said)


def test_each_message_is_said():
    said = written()
    messages = MESSAGE.findall(TROUBLESHOOTING)
    assert len(messages) > 40
    gone = [message for message in messages if not is_said(message, said)]
    assert not gone, "docs/troubleshooting.md quotes what no command says: " + "\n".join(gone)


@pytest.mark.parametrize(
    ("message", "found"),
    [("No server answers at …", True), ("Port … is … taken", False), ("There is no run directory …; make one", True)],
)
def test_a_message_that_nobody_says_is_found(message, found):
    said = list(
        texts('f"No server answers at {url} ({why})."\nf"There is no run directory {path}; make one."\nf"Port {n}"')
    )
    assert is_said(message, said) is found


def test_the_files_of_your_own_data_are_read(tmp_path):
    config, data = tmp_path / "config.toml", tmp_path / "clicks.csv"
    config.write_text(re.search(r"```toml\n(.*?)```", YOUR_DATA, re.DOTALL)[1])
    data.write_text(re.search(r"```text\n(.*?)```", YOUR_DATA, re.DOTALL)[1])
    settings = read_config(config)
    frame, dtypes = read_interactions(data, settings.data)
    assert len(frame) == len(data.read_text().splitlines()) - 1
    assert dtypes["when"] == "datetime"
    session = json.loads(re.search(r"```json\n(.*?)```", YOUR_DATA, re.DOTALL)[1])
    assert set(session) == set(frame.columns) - {"visit", settings.data.tie_breaker_column}
