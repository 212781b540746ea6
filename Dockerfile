# The program in a container:   docker build . -t decathlon
# For NVIDIA GPUs, 5 GB larger: docker build . --build-arg TORCH_INDEX= -t decathlon
# In the folder of your data:   docker run --rm -v "$PWD:/work" decathlon score results
#
# Tried with buildah, TORCH_INDEX empty, and Debian 13 with its Python 3.13 as the base. Not tried:
# docker itself, the base that is named here, and the index of PyTorch's builds for processors.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS base
RUN useradd --create-home --uid 1000 user && install -d -o user /src /venv /work
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# For work on the code: the Makefile installs the rest into the working folder.
FROM base AS development
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends git make \
  && rm -rf /var/lib/apt/lists/*
USER 1000

FROM base AS program
# PyTorch's builds for processors. If it is empty, those of PyPI are installed, with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
USER 1000
WORKDIR /src
ENV PATH=/venv/bin:$PATH
# The versions of the lock without its hashes: builds for processors have others.
COPY requirements.lock ./
RUN python3 -m venv /venv \
  && sed -E '/^ +--hash/d; s/ \\$//' requirements.lock > /venv/constraints.txt \
  && grep -E '^torch(vision)?==' /venv/constraints.txt > /venv/torch.txt \
  && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r /venv/torch.txt
COPY --chown=1000 . ./
RUN pip install --constraint /venv/constraints.txt . && rm -rf /src/*
WORKDIR /work
ENTRYPOINT ["decathlon"]
CMD ["--help"]
