"""The formats of the retrieval step, for tests that ask each of them the same."""

import pytest

from nextitem_export.retrieval.formats import FORMATS

#: `make test` asks the exporters that trace; torch.export takes seconds for each graph.
EACH_FORMAT = [pytest.param(name, marks=pytest.mark.slow) if name == "onnx_dynamo" else name for name in FORMATS]
