"""Which formats an export tries for a session model, in which order, and what is said where none of them passes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .._errors import ExportError, ParityError, UnsupportedModel
from .formats import FORMATS

#: TorchScript too, after ONNX.
AUTO = "auto"
_ONNX, _DYNAMO, _TORCHSCRIPT = "onnx", "onnx_dynamo", "torchscript"
#: What may be asked for.
CHOICES = (_ONNX, AUTO, *(name for name in FORMATS if name != _ONNX))
_TRIED = {_ONNX: (_ONNX, _DYNAMO), AUTO: (_ONNX, _DYNAMO, _TORCHSCRIPT)}
_PATH = re.compile(r"(?<![\w.])(?:/[\w.@+-]+)+/(?=[\w.@+-])")


def formats_to_try(asked: str, active: str | None, *, onnx_file: bool, torchscript: bool) -> tuple[str, ...]:
    """The formats in their order.

    asked: of CHOICES. active: that of the version which answers under the same name and stays, None where there is none; it
    comes first, and TorchScript does not follow ONNX unless it is asked for by name. onnx_file: the model is an ONNX file,
    which one way alone leads from. torchscript: whether the other options let it be.
    """
    if onnx_file and asked != _TORCHSCRIPT:
        return (_ONNX,)
    formats = _TRIED.get(asked, (asked,))
    if asked == AUTO and (not torchscript or active not in (None, _TORCHSCRIPT)):
        formats = formats[:-1]
    return tuple(sorted(formats, key=lambda name: name != active))


def reason_of(error: ExportError) -> str:
    """Why a format fell out, in one line without paths of this machine, as a manifest keeps it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _PATH.sub("", lines[0] if lines else type(error).__name__)


def refusal(model: str, asked: str, errors: Mapping[str, ExportError], *, withheld: bool) -> ExportError:
    """The one error where all formats that were tried fell out; of one alone, its own.

    errors: by format, at least one. withheld: TorchScript was not tried, since it would follow ONNX.
    """
    if len(errors) == 1:
        return next(iter(errors.values()))
    kind = ParityError if any(isinstance(error, ParityError) for error in errors.values()) else UnsupportedModel
    reasons = "".join(f"\n- {name}: {error}" for name, error in errors.items())
    remedy = ""
    if withheld:
        remedy = "\nTorchScript was not tried, since the version that answers is ONNX: give ExportOptions(replace=True)"
    elif asked == _ONNX:
        remedy = "\nExportOptions(format='auto') tries TorchScript too, for which the server needs torch"
    return kind(f"{model} passes in none of the formats that were tried:{reasons}{remedy}")
