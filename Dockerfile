# One image for the exporter, the forecaster, the pager and the loading of history. Digests as in docker-compose.yml.

FROM docker.io/prom/prometheus:v2.55.1@sha256:2659f4c2ebb718e7695cb9b25ffa7d6be64db013daba13e05c875451cf51b0d3 AS prometheus

FROM docker.io/library/python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

# PyTorch for CPUs by default: a third of the size, and the model is small. For PyTorch's standard build, with CUDA:
#   docker compose build --build-arg TORCH_INDEX=
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# First what rarely changes: the pinned packages, each file of which is checked against its hash.
COPY constraints.txt pyproject.toml ./
COPY supply/ supply/
RUN env ${TORCH_INDEX:+PIP_EXTRA_INDEX_URL="$TORCH_INDEX"} python -m supply.install

COPY README.md LICENSE ./
COPY serving/ serving/
COPY exporter/ exporter/
COPY forecaster/ forecaster/
COPY stack/ stack/
COPY prometheus/ prometheus/
COPY grafana/dashboards/ grafana/dashboards/
COPY deploy/kubernetes/ deploy/kubernetes/
# Compiled here, as nothing can be written where it runs.
RUN pip install --no-deps --no-build-isolation --editable . && python -m compileall -q serving exporter forecaster stack

COPY --from=prometheus /bin/promtool /usr/local/bin/promtool

# 65534 is the user of the Prometheus image, which shares /prometheus with the loading of history. Below /secure are the
# volumes of deploy/compose/secure.yml.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin fleetcast \
 && install -d -o 10001 -g 10001 /data /secure/config && install -d -o 65534 -g 65534 /prometheus \
 && install -d -m 0750 -o 10001 -g 10001 /secure/server /secure/client
USER 10001

EXPOSE 8000 8001
CMD ["fleet-exporter", "serve", "--web.listen-address", "0.0.0.0:8001"]
