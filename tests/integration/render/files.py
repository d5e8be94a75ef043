"""Charts and overlays of the shapes that people have."""

from __future__ import annotations


def deployment(name: str, image: str = "nginx:1.27") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: 1
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
      - name: main
        image: {image}
"""


OVERLAY = {
    "base/web/kustomization.yaml": "resources: [deployment.yaml, service.yaml]\n",
    "base/web/deployment.yaml": deployment("web"),
    "base/web/service.yaml": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"
    ),
    "components/debug/kustomization.yaml": (
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        "patches: [{path: patch.yaml, target: {kind: Deployment}}]\n"
    ),
    "components/debug/patch.yaml": "- {op: replace, path: /spec/replicas, value: 3}\n",
    "apps/prod/kustomization.yaml": (
        "namespace: shop\nnamePrefix: prod-\nresources: [../../base/web]\ncomponents: [../../components/debug]\n"
        "images: [{name: nginx, newTag: '1.29'}]\n"
        "configMapGenerator: [{name: settings, envs: [settings.env]}]\n"
        "secretGenerator: [{name: login, files: [password=login/password.txt]}]\n"
        "patches:\n- patch: |-\n    apiVersion: v1\n    kind: Service\n    metadata: {name: web}\n    spec: {type: ClusterIP}\n"
    ),
    "apps/prod/settings.env": "LOG_LEVEL=info\n",
    "apps/prod/login/password.txt": "hunter2-of-the-shop",
    "unrelated/kustomization.yaml": "resources: [a.yaml]\n",
    "unrelated/a.yaml": deployment("unrelated"),
}

CHART = {
    "charts/web/Chart.yaml": (
        "apiVersion: v2\nname: web\nversion: 1.0.0\n"
        "dependencies:\n- name: common\n  version: 1.x.x\n  repository: file://../common\n"
    ),
    "charts/web/values.yaml": "replicas: 1\nimage: nginx:1.27\ngreeting: hello\n",
    "charts/web/templates/_helpers.tpl": '{{- define "web.name" }}{{ .Release.Name }}-web{{ end -}}\n',
    "charts/web/templates/deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "web.name" . }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "common.labels" . | nindent 4 }}
  annotations:
    kubernetes: {{ .Capabilities.KubeVersion.Version }}
    monitored: {{ .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" | quote }}
    greeting: {{ .Values.greeting | quote }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: {{ .Values.image | quote }}}]}
""",
    "charts/web/templates/migrate.yaml": """\
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-weight: "5"}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: web}]}}}
""",
    "charts/web/templates/tests/check.yaml": """\
apiVersion: v1
kind: Pod
metadata: {name: check, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: main, image: web}]}
""",
    "charts/web/templates/NOTES.txt": "Thank you.\n",
    "charts/web/crds/widget.yaml": """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example}
spec:
  group: shop.example
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
""",
    "charts/common/Chart.yaml": "apiVersion: v2\nname: common\nversion: 1.2.3\n",
    "charts/common/templates/_labels.tpl": '{{- define "common.labels" }}\npart-of: shop\n{{ end -}}\n',
    "charts/common/templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: common}\ndata: {a: b}\n",
    "values/prod.yaml": "replicas: 2\ngreeting: from prod\n",
    "values/shop.yaml": "replicas: 3\n",
}

RANDOM = {
    "db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n",
    "db/templates/secret.yaml": """\
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData:
  user: admin
  password: {{ randAlphaNum 24 | quote }}
""",
    "db/templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n",
}
