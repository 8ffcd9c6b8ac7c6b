"""The written format of a bundle, and in `runtime` the code that runs inside Triton."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
