# One image for every process: `windlass service`, `worker`, `watcher`, `dashboard`. Everything in it is pinned: Go programs by
# their go.sum, Python packages by requirements.lock's hashes.
ARG PYTHON=3.11.14-slim-bookworm
ARG GO=1.26.8-bookworm

FROM golang:${GO} AS renderers
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -mod=mod" GOTOOLCHAIN=local
WORKDIR /src/helm
COPY tests/parts/go/helm ./
RUN go build -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0" -o /out/helm helm.sh/helm/v3/cmd/helm
WORKDIR /src/kustomize
COPY tests/parts/go/kustomize ./
RUN go build -ldflags "-s -w -X sigs.k8s.io/kustomize/api/provenance.version=v5.8.2" -o /out/kustomize sigs.k8s.io/kustomize/kustomize/v5
WORKDIR /src/sops
COPY tests/parts/go/sops ./
RUN go build -ldflags "-s -w" -o /out/sops github.com/getsops/sops/v3/cmd/sops

FROM python:${PYTHON} AS python
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/windlass \
 && pip --python /opt/windlass/bin/python install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md ./
COPY windlass windlass
COPY service service
COPY workers workers
RUN pip install --no-cache-dir --target /tmp/build "setuptools>=77" \
 && PYTHONPATH=/tmp/build pip --python /opt/windlass/bin/python install --no-cache-dir --no-deps --no-build-isolation . \
 && python -m compileall -q -j 0 /opt/windlass

FROM python:${PYTHON}
# git and ssh: the fall-back for what the fast fetch doesn't do; gnupg: signed commits; redis: `windlass up` and `deploy --path`.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client gnupg gpgsm redis-server tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin windlass \
 && mkdir -p /var/lib/windlass \
 && chgrp -R 0 /var/lib/windlass \
 && chmod -R g=u /var/lib/windlass
COPY --from=renderers /out/ /usr/local/bin/
COPY --from=python /opt/windlass /opt/windlass
ENV PATH=/opt/windlass/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp WINDLASS_DATA=/var/lib/windlass WINDLASS_HOST=0.0.0.0
# Any user will do (OpenShift gives one of its own, in group 0, and names it in /etc/passwd: ssh refuses to run for one that has no
# name); a number, so that `runAsNonRoot` can be checked.
USER 10001:0
EXPOSE 8480
ENTRYPOINT ["tini", "--", "windlass"]
CMD ["service"]
