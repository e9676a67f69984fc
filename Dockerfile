# Built in one stage and run in another, so that no build tool is shipped. Nothing in it names an architecture.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
RUN python -m venv --without-pip /opt/ff-proxy \
    && /opt/build/bin/pip --python /opt/ff-proxy install --quiet --require-hashes --only-binary=:all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/ff-proxy install --quiet --no-deps --no-index dist/*.whl

FROM python:${PYTHON}-slim
COPY --from=build /opt/ff-proxy /opt/ff-proxy
# A volume takes over the owner of the directory that it covers: both can be written without being root.
RUN install -d -o 65534 -g 65534 /config /data
ENV PATH=/opt/ff-proxy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
WORKDIR /
EXPOSE 7000
VOLUME /config
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["ff-proxy", "health"]
ENTRYPOINT ["ff-proxy"]
