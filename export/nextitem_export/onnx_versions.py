"""The versions of ONNX that graphs are written in: those that any Triton since 23.02 reads."""

OPSET = 17
#: The lowest that torch's newer exporter writes.
DYNAMO_OPSET = 18
#: Of the graphs built here. ONNX Runtime 1.17, the oldest that a client may have, reads 9; torch's newer exporter writes 10.
IR_VERSION = 8
