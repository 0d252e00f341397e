# Serves a model over HTTP on a CPU, as a user without rights: the one that comes along, or one of your own.
#
#   docker build -t speech-xl .
#   docker run -p 127.0.0.1:8000:8000 -v speech-xl:/data -e SPEECH_XL_TOKEN=... speech-xl
#   docker run -p 127.0.0.1:8000:8000 -v speech-xl:/data -v ./my_model:/model:ro speech-xl --model /model
#
# A published encoder or LLM that a model names (Whisper-base for the one that comes along, 290 MB) is downloaded at the
# first start, into the volume /data, and not while the image is built: the image then holds this project's files and
# its requirements alone. Later starts need no network, and don't ask for one with -e HF_HUB_OFFLINE=1. Saved sessions
# lie in the same volume.

FROM python:3.12-slim AS wheel
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY data_recipes data_recipes
COPY experiments/trained experiments/trained
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# PyTorch first, from its own index: the wheels there have no CUDA, which is gigabytes. The version is pyproject.toml's.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.8,<2.14"
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "speech-xl-suite[serve] @ file://$(echo /wheels/*.whl)"

RUN useradd --uid 10001 --create-home speech && mkdir /data && chown speech /data
USER 10001
ENV HF_HOME=/data/huggingface PYTHONUNBUFFERED=1
VOLUME ["/data"]
EXPOSE 8000

# The first start downloads, so it may take minutes until the server answers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10m --start-interval=5s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]

# 0.0.0.0 is the container's own; -p says who reaches it. With SPEECH_XL_TOKEN set, every request must bear it.
ENTRYPOINT ["speech-xl", "serve", "--host", "0.0.0.0", "--port", "8000", "--sessions-dir", "/data/sessions"]
