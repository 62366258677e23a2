# `kt serve` in a container: every model in saved_models/, which is mounted read-only.
#
#     docker build -f docker/serve.Dockerfile -t kt-serve .
#     docker run --rm -p 127.0.0.1:8501:8501 -p 127.0.0.1:8500:8500 \
#         -v "$PWD/saved_models:/saved_models:ro" kt-serve
#
# Further options of kt serve come behind the image's name. For a key: -e KT_API_KEY=...
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY kt kt
RUN pip install --no-cache-dir '.[grpc]' && rm -rf /src/*

RUN useradd --create-home --uid 10001 kt
USER kt
WORKDIR /home/kt

EXPOSE 8501 8500
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8501/healthz', timeout=4)"]

# Docker waits 10 seconds for a container to stop before it kills it.
ENTRYPOINT ["kt", "serve", "/saved_models", "--host", "0.0.0.0", "--grace-seconds", "6"]
