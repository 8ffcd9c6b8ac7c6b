"""Trains session-based recommenders on NVTabular features: interactions to run directory.

Modules, in the order in which a training run uses them: config, interactions, split, workflow,
examples, model (inputs, bodies, pretraining, heads, losses), trainer, evaluation, run_directory; offline answers
sessions from a finished run and is the reference for what a server should answer.
"""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
