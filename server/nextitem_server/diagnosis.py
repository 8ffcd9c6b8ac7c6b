"""Reads Triton's log: which services listen, what failed and why.

A line is `E1120 19:07:11.054640 15631 model_lifecycle.cc:642] "text"`, its line breaks written \\n.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LINE = re.compile(r'^([IWEF])\d{4} [\d:.]+\s+\d+ (\S+:\d+)\]\s+"?(.*?)"?$')
_STARTED = re.compile(r"Started (HTTPService|GRPCInferenceService|Metrics Service) at (?:\S*:)?(\d+)")
_SERVICES = {
    "HTTPService": "http",
    "GRPCInferenceService": "grpc",
    "Metrics Service": "metrics",
}
_TAKEN = re.compile(r"failed to start (\w+) service: .*Socket '[^']*?(\d+)' already in use")
_FAILED_MODEL = re.compile(r"failed to load '([^']+)' version \d+: (.*)", re.DOTALL)
_FAILED_POLL = re.compile(r"Poll failed for model directory '([^']+)': (.*)", re.DOTALL)
# Triton 2.51 waits for ever for a Python stub that ended this early.
_STUCK = re.compile(r"Failed to preinitialize Python stub: (.*?/([^/']+)/\d+/[^/']+'.*)")
_UNLOADING = "Waiting for in-flight requests to complete"
_LOADING = re.compile(r'"loading: (\S+):\d+"')
_LOADED = re.compile(r"(?:successfully loaded|failed to load) '([^']+)'")
_PROTOBUF = re.compile(r"^\[libprotobuf ERROR .*?\] (.*)$", re.MULTILINE)
_STATUS = re.compile(r"^(?:Internal|Invalid argument|Unavailable|Not found|Unsupported): ")
_WRONG_OPTION = re.compile(
    r"^(?:\S*tritonserver: (unrecognized option .*|option .*)|(Bad option: .*\n.*))$", re.MULTILINE
)
_CLOSED_TWICE = re.compile(r"restricted (?:api|protocol) '(\S+)' can not be specified in multiple")
_FINAL = re.compile(r"^error: (.*)$", re.MULTILINE)

# Said on every machine without a GPU, with a driver or without one; nothing that its owner could or should change. What a GPU
# that is there says in these places has another reason behind it, such as "out of memory".
_NO_DEVICE = r"(?:CUDA driver|no CUDA-capable device)"
_NO_GPU = re.compile(
    rf"[Uu]nable to allocate pinned system memory[^:]*: {_NO_DEVICE}"
    r"|failed to allocate pinned system memory: no pinned memory pool"
    rf"|unable to create stream for \S+: {_NO_DEVICE}|CudaDriverHelper has not been initialized"
    r"|DCGM unable to start|Error: Failed to initialize NVML"
)

_NO_FILES = re.compile(r"Error from accept\(\) call: Too many open files")
_NO_FILES_ADVICE = (
    "tritonserver has no file descriptor left for further connections: they wait, and it uses a core until some are "
    "closed. Raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container), or have clients "
    "close what they do not use."
)

# What to do about reasons that come up often.
_CURES = (
    (
        re.compile(r"backend '?(onnxruntime|pytorch)'?|(onnxruntime|pytorch)' backend"),
        "The embedded Triton carries the python backend only: serve this bundle with an "
        "installed Triton (--server PATH), or export it again with --runtime python.",
    ),
    (
        re.compile(r"ModuleNotFoundError: No module named '([\w]+)"),
        "Install that package into the environment that runs nextitem-serve.",
    ),
)


def started_services(log: str) -> dict[str, int]:
    """Port by service (http, grpc, metrics) of those that the log says are listening."""
    return {_SERVICES[name]: int(port) for name, port in _STARTED.findall(log)}


def taken_port(log: str) -> tuple[str, int] | None:
    """Service and port that tritonserver could not bind, or None."""
    match = _TAKEN.search(log)
    return (match[1].lower(), int(match[2])) if match else None


def wrong_option(log: str) -> str | None:
    """What tritonserver says about an option that it does not know, or None."""
    match = _WRONG_OPTION.search(log)
    if match is None:
        return None
    words = (match[1] or match[2]).replace("\n", " ")
    twice = _CLOSED_TWICE.search(words)
    return f"{words}. It is closed already: --open-api {twice[1]} leaves it to your rule" if twice else words


def has_given_up(log: str) -> bool:
    """Whether a tritonserver that is not ready yet will never be, though it still runs.

    It unloads what was loaded, which takes seconds, or waits for what cannot come any more.
    """
    return _UNLOADING in log or taken_port(log) is not None or _STUCK.search(log) is not None


def loading_models(log: str) -> list[str]:
    """Models whose loading began and did not end, sorted."""
    return sorted(set(_LOADING.findall(log)) - set(_LOADED.findall(log)))


def failed_models(log: str) -> dict[str, str]:
    """Reason by model, in the words of what failed; the traceback's places are left out.

    A step's failure takes the ensemble down with it: only the steps are listed then.
    """
    reasons = {match[2]: match[1] for match in _STUCK.finditer(log)}
    followers: dict[str, str] = {}
    syntax = " ".join(_PROTOBUF.findall(log))
    for severity, _, text in _messages(log):
        match = _FAILED_MODEL.search(text) or _FAILED_POLL.search(text)
        if severity == "E" and match:
            model = match[1].rstrip("/").rsplit("/", 1)[-1]
            kind = followers if "depends on" in match[2] else reasons
            reason = _reason(match[2])
            kind.setdefault(model, f"{reason}. {syntax}" if "text proto" in reason else reason)
        elif (
            severity == "E"
            and "failed to load" not in text
            and (match := re.match(r"(?:Invalid argument: )?ensemble (\S+) contains models that", text))
        ):
            followers.setdefault(match[1].strip("'"), _reason(text))
    return reasons or followers


def failed_models_text(reasons: Mapping[str, str]) -> str:
    """The sentences shown for failed models."""
    parts: list[str] = []
    for model, reason in reasons.items():
        cure = next((text for pattern, text in _CURES if pattern.search(reason)), None)
        parts.append(f"Model {model} could not be loaded: {reason}" + (f"\n{cure}" if cure else ""))
    return "\n".join(parts)


def last_words(log: str, limit: int = 5) -> str:
    """What the log says about an end that has no better diagnosis: its last errors."""
    errors = [text for severity, _, text in _messages(log) if severity in "EF"]
    errors = [text for text in errors if not _NO_GPU.search(text)]
    errors += _FINAL.findall(log)
    unformatted = [line for line in log.splitlines() if line.strip() and not _LINE.match(line)]
    chosen = errors or [line for line in unformatted if not line.startswith(("+", "|"))]
    return "\n".join(_unescape(text) for text in chosen[-limit:]) or "(its log is empty)"


def advice(line: str) -> str | None:
    """What to do about a log line that Triton repeats in a tight loop; None for others."""
    return _NO_FILES_ADVICE if _NO_FILES.search(line) else None


def worth_showing(line: str) -> bool:
    """Whether a log line belongs on the console: warnings and worse that someone can act on."""
    match = _LINE.match(line)
    return bool(match and match[1] in "WEF" and not _NO_GPU.search(line))


def _messages(log: str) -> list[tuple[str, str, str]]:
    """Severity, place and text of each formatted line."""
    return [(match[1], match[2], _unescape(match[3])) for match in map(_LINE.match, log.splitlines()) if match]


def _unescape(text: str) -> str:
    return text.replace("\\n", "\n").replace('\\"', '"')


def _reason(text: str) -> str:
    text = _STATUS.sub("", text)
    return text.split("\n\nAt:\n", 1)[0].strip()
