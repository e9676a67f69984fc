# Two stages, so that no build tool is shipped. Works on any architecture.
#
# Releases build on a digest: `make image` looks up the digest of this tag and passes it as BASE.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# Additional certificate authorities (PEM text) and a package index, for company networks.
ARG CA_CERTIFICATES=""
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN test -z "$CA_CERTIFICATES" || printf '%s\n' "$CA_CERTIFICATES" >> /etc/ssl/certs/ca-certificates.crt
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
RUN python3 -m venv --without-pip /opt/ff-proxy \
    && /opt/build/bin/pip --python /opt/ff-proxy install --quiet --no-compile --require-hashes --only-binary=:all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src/ src/
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/ff-proxy install --quiet --no-compile --no-deps --no-index dist/*.whl \
    && /opt/ff-proxy/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/ff-proxy/lib
# Unchecked: layers round the times of files, and by its time bytecode would be stale, to be compiled at each start.

FROM ${BASE}
ARG CA_CERTIFICATES=""
RUN test -z "$CA_CERTIFICATES" || printf '%s\n' "$CA_CERTIFICATES" >> /etc/ssl/certs/ca-certificates.crt
# New volumes inherit owner and mode. Group 0 is for platforms that choose the user id (OpenShift).
RUN install -d -o 65534 -g 0 -m 0770 /config /data
COPY --from=build /opt/ff-proxy /opt/ff-proxy
ENV PATH=/opt/ff-proxy/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65534:65534
WORKDIR /
EXPOSE 7000
VOLUME /config
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["ff-proxy", "health"]
ENTRYPOINT ["ff-proxy"]
# Last, so that a new version reuses the layers above.
ARG BASE
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=""
LABEL org.opencontainers.image.title="ff-proxy" \
      org.opencontainers.image.description="Relay proxy for Harness Feature Flags" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
