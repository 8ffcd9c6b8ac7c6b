"""The retrieval step: the session model over the whole catalogue, from the torch module to the written graph.

`module` is the step as torch has it, `session` traces the model in it, and what follows is written by hand: `scan` the exact
scan, `blocks` that of a large catalogue, `int8` the first look and what it proves, `ann` an index, `heads` what the model
predicts beside; `graph` joins them, from `nodes`. `choice` takes one of them, and `formats` writes the step.
"""
