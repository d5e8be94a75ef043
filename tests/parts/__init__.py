"""The real parts: Kubernetes' control plane, kwok, Gitea, Git over HTTP, Redis, Helm, Kustomize.

Built once, started per run.
"""
