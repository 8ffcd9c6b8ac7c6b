"""What runs inside Triton's Python backend, copied as source into every bundle as `nextitem_runtime`.

Depends on numpy and onnxruntime alone; torch is imported only where a step's graph is TorchScript, nvtabular and
pandas only in `features/nvtabular.py`, the step that `--features nvtabular` asks for by name. Nothing here imports a
nextitem package: a bundle answers wherever its runtime's dependencies are.
"""
