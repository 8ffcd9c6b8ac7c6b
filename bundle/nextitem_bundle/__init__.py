"""The written format of a bundle, and in `runtime` the code that runs inside Triton."""
