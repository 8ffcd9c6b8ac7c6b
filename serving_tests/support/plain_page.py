"""The page on plain HTTP: its blocks of code and its sessions, and HTTP without a client."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

from serving_tests.support.made.shop import ROOT

PAGE = (ROOT / "docs" / "plain-http.md").read_text(encoding="utf-8")
FEATURES = {
    "item_id": "BYTES", "timestamp": "INT64", "category": "BYTES", "colour": "BYTES", "location": "BYTES",
    "photography": "BYTES", "country": "INT64", "page": "INT64", "price": "FP32",
}  # fmt: skip
#: The three sessions of the page, of 3, 1 and 2 interactions.
SESSIONS = [
    {
        "item_id": ["A13", "A16", "B4"],
        "timestamp": ["2008-08-10T10:00:00", "2008-08-10T10:00:40", "2008-08-10T10:02:00"],
        "category": ["trousers", "trousers", "skirts"],
        "colour": ["beige", "black", "grey"],
        "location": ["top middle", "top right", "top middle"],
        "photography": "en face", "country": 29, "page": 1, "price": [28, 33, 52],
    },
    {
        "item_id": ["C5"], "timestamp": ["2008-08-10T10:10:00"], "category": "blouses", "colour": "white",
        "location": "top left", "photography": "profile", "country": 9, "page": 2, "price": 33,
    },
    {
        "item_id": ["B4", "A2"],
        "timestamp": ["2008-08-10T10:26:40", "2008-08-10T10:26:47"],
        "category": ["skirts", "trousers"], "colour": ["grey", "blue"], "location": ["top middle", "top left"],
        "photography": "en face", "country": 29, "page": 1, "price": [52, 43],
    },
]  # fmt: skip


def blocks(heading: str, language: str) -> list[str]:
    """The code under a heading of the page, by the language of its fence."""
    section = re.search(rf"^##? {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE).group(1)
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def outputs(text: str) -> dict[str, dict]:
    """The tensors of an answer by their names."""
    return {output["name"]: output for output in json.loads(text)["outputs"]}


def rows(output: dict) -> list[list]:
    """The flat data [B * K] of a tensor as B rows."""
    count, width = output["shape"]
    assert len(output["data"]) == count * width
    return [output["data"][i * width : (i + 1) * width] for i in range(count)]


def ask(url: str, model: str, body: object) -> tuple[int, str]:
    """Post a body, JSON or bytes as they are; status and text of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/v2/models/{model}/infer", data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
