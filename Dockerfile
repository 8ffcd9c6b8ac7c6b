# Target `server`: the embedded Triton, numpy and ONNX Runtime on CPU, and nextitem-serve. Nothing to train with.
#
#   docker build --target server -t nextitem-server .
#   docker run --read-only --tmpfs /tmp:exec -v "$PWD/model_repository:/models:ro" \
#       -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 nextitem-server
#
# Versions come from requirements.in, which pip takes as its constraints here.

# Target `server-gpu`, at the end: NVIDIA's own image with nextitem-serve, for native bundles and GPUs.

ARG BASE=python:3.11-slim-bookworm
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:24.10-py3

FROM ${BASE} AS server-build
WORKDIR /build
COPY requirements.in ./
# Constrains what packages are built with, too, where one comes as source only.
ENV PIP_CONSTRAINT=/build/requirements.in \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
# Without pip inside: the image's own installs into it and stays behind.
RUN python3 -m venv --without-pip /opt/nextitem \
    && python3 -m pip --python /opt/nextitem/bin/python install --no-deps \
        numpy onnxruntime nvidia-pytriton

# 1: for bundles of `nextitem-export --features nvtabular`, whose features step runs the real Workflow.
ARG WITH_NVTABULAR=0
RUN if [ "$WITH_NVTABULAR" = 1 ]; then \
        python3 -m pip --python /opt/nextitem/bin/python install --no-deps \
            absl-py betterproto click cloudpickle dask distributed fsspec googleapis-common-protos \
            grpclib h2 hpack hyperframe importlib_metadata jinja2 llvmlite locket markupsafe \
            merlin-core msgpack multidict npy-append-array numba nvidia-ml-py nvtabular packaging \
            pandas partd protobuf psutil pyarrow pynvml python-dateutil pytz pyyaml scipy six \
            sortedcontainers stringcase tblib tensorflow-metadata toolz tornado tqdm \
            typing_extensions urllib3 zict zipp; \
    fi

# 1: for bundles of `nextitem-export --format torchscript`. TORCH_INDEX: an index of CPU builds, which PyTorch's own page
# names; without it pip takes the build for GPUs, several gigabytes.
ARG WITH_TORCH=0
ARG TORCH_INDEX=
RUN if [ "$WITH_TORCH" = 1 ]; then \
        python3 -m pip --python /opt/nextitem/bin/python install \
            ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch; \
    fi

# 1: for bundles of `nextitem-export --scoring ann`.
ARG WITH_FAISS=0
RUN if [ "$WITH_FAISS" = 1 ]; then \
        python3 -m pip --python /opt/nextitem/bin/python install --no-deps faiss-cpu packaging; \
    fi

COPY deploy/slim_environment.py ./
RUN python3 slim_environment.py /opt/nextitem
COPY bundle/pyproject.toml bundle/README.md bundle/
COPY bundle/nextitem_bundle bundle/nextitem_bundle
COPY server/pyproject.toml server/README.md server/
COPY server/nextitem_server server/nextitem_server
RUN python3 -m pip --python /opt/nextitem/bin/python install --no-deps ./bundle ./server


FROM ${BASE} AS server
COPY --from=server-build /opt/nextitem /opt/nextitem
ENV PATH=/opt/nextitem/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# A name for the number, which some libraries look up.
RUN useradd --uid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin nextitem \
    && mkdir /models
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
# Arguments of `docker run` come after these.
ENTRYPOINT ["nextitem-serve", "--model-repository", "/models", "--wait-for-models", "--host", "0.0.0.0", \
    "--http-port", "8000", "--grpc-port", "8001", "--metrics-port", "8002"]


# Triton with its own ONNX Runtime, PyTorch and TensorRT, for bundles of `nextitem-export --runtime native`, whose retrieval step runs on
# a GPU with `--accelerator cuda` or `tensorrt`.
#
#   docker build --target server-gpu -t nextitem-server-gpu .
#   docker run --gpus all --read-only --tmpfs /tmp:exec -v "$PWD/model_repository:/models:ro" \
#       -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 nextitem-server-gpu
FROM ${TRITON_IMAGE} AS server-gpu
# 1: for bundles of the Python runtime as well.
ARG WITH_PYTHON_RUNTIME=0
RUN --mount=type=bind,source=requirements.in,target=/build/requirements.in \
    if [ "$WITH_PYTHON_RUNTIME" = 1 ]; then \
        python3 -m pip install --no-cache-dir --no-deps --constraint /build/requirements.in numpy onnxruntime; \
    fi
COPY bundle/pyproject.toml bundle/README.md /tmp/bundle/
COPY bundle/nextitem_bundle /tmp/bundle/nextitem_bundle
COPY server/pyproject.toml server/README.md /tmp/server/
COPY server/nextitem_server /tmp/server/nextitem_server
RUN python3 -m pip install --no-cache-dir --no-deps /tmp/bundle /tmp/server && rm -rf /tmp/bundle /tmp/server && mkdir -p /models
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The image has a user of that number already.
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python3", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["nextitem-serve", "--server", "/opt/tritonserver", "--model-repository", "/models", "--host", "0.0.0.0", \
    "--http-port", "8000", "--grpc-port", "8001", "--metrics-port", "8002"]


# Built where no target is named.
FROM server
