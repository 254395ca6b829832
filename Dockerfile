# One image for each service: `docker buildx bake`, or --build-arg SERVICE=gateway|ingest|scheduler|comments|operator|flower
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ARG UV_VERSION=0.13.9
# the certificates of the machine that builds, wherever it stands
ENV UV_NATIVE_TLS=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_DEV=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY pyproject.toml uv.lock ./
ARG SERVICE
# what changes rarely first: the dependencies, by the lock alone
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_PROJECT_ENVIRONMENT=/app/.venv /opt/uv/bin/uv sync --frozen --no-install-workspace --package "socialsync-${SERVICE}"
COPY services services
COPY operator operator
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_PROJECT_ENVIRONMENT=/app/.venv /opt/uv/bin/uv sync --locked --no-editable --package "socialsync-${SERVICE}" \
 # the asynchronous half of the Kubernetes client: 75 MB that nobody here imports
 && rm -rf /app/.venv/lib/python3*/site-packages/kubernetes/aio

FROM ${PYTHON}
ARG SERVICE
LABEL org.opencontainers.image.title="socialsync-${SERVICE}" \
      org.opencontainers.image.source="https://github.com/socialsync/socialsync" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 65532:65532
