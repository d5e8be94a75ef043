# One image for every process: `windlass service`, `windlass worker`, `windlass dashboard`.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY windlass windlass
COPY service service
COPY workers workers
RUN python -m venv /opt/windlass \
 && /opt/windlass/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/windlass/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
# git and ssh: the fall-back for what the fast fetch doesn't do.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client gnupg gpgsm \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/windlass --create-home windlass
COPY --from=build /opt/windlass /opt/windlass
ENV PATH=/opt/windlass/bin:$PATH PYTHONUNBUFFERED=1 WINDLASS_DATA=/var/lib/windlass WINDLASS_HOST=0.0.0.0
USER 10001
ENTRYPOINT ["windlass"]
CMD ["service"]
