"""The two steps around the session model: raw sessions to encoded sequences, and codes to the items that they stand for."""

OPSET = 17
#: The lowest that torch's newer exporter writes.
DYNAMO_OPSET = 18
#: Of the graphs built here. ONNX Runtime 1.17, the oldest that a client may have, reads 9; torch's newer exporter writes 10.
IR_VERSION = 8
