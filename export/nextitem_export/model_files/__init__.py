"""Session models that come as files, or as what such a file holds: TorchScript and ONNX, with the item table beside them.

`file` opens what came as a module of torch, `onnx_file` one that runs ONNX Runtime and `torchscript` one that runs TorchScript;
`arrays` reads the item table and the ids. The module gives the file's own answers, which the parity gate holds the bundle
against; `retrieval/merged.py` makes the nodes of an ONNX file a part of the retrieval step.
"""
