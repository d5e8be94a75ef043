{{- define "windlass.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "windlass.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "windlass.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "windlass.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "windlass.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "windlass.selector" . }}
{{- end }}

{{- define "windlass.selector" -}}
app.kubernetes.io/name: {{ include "windlass.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "windlass.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "windlass.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: needed with serviceAccount.create: false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The service's own: with custom resources it reads the Secrets that webhooks are signed with, and nothing else. */}}
{{- define "windlass.receiverAccount" -}}
{{- if and .Values.serviceAccount.create (ne .Values.resources.scope "off") }}
{{- include "windlass.fullname" . }}-service
{{- else }}
{{- include "windlass.serviceAccount" . }}
{{- end }}
{{- end }}

{{/* The namespaces whose custom resources are followed, but for scope: cluster; as JSON. */}}
{{- define "windlass.resourceNamespaces" -}}
{{- prepend .Values.resources.namespaces (include "windlass.ownNamespace" .) | uniq | toJson }}
{{- end }}

{{- define "windlass.image" -}}
{{- $name := .Values.image.repository }}
{{- if .Values.image.registry }}{{ $name = printf "%s/%s" .Values.image.registry $name }}{{ end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "windlass.ownNamespace" -}}
{{- default .Release.Namespace .Values.ownNamespace }}
{{- end }}

{{- define "windlass.documents" -}}
{{- default (printf "%s-documents" (include "windlass.fullname" .)) .Values.existingDocuments }}
{{- end }}

{{- define "windlass.keySecret" -}}
{{- default (printf "%s-key" (include "windlass.fullname" .)) .Values.key.existingSecret }}
{{- end }}

{{/* The names of the Secrets that documents refer to by their files; as JSON. */}}
{{- define "windlass.mountedSecrets" -}}
{{- concat .Values.secrets (keys .Values.createSecrets | sortAlpha) | uniq | toJson }}
{{- end }}

{{- define "windlass.redisSecret" -}}
{{- default (printf "%s-redis" (include "windlass.fullname" .)) .Values.redis.embedded.existingSecret }}
{{- end }}

{{/* A password that an upgrade keeps: what the cluster has, else a new one. (dict "root" . "secret" NAME "key" KEY) */}}
{{- define "windlass.kept" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .secret }}
{{- if and $found (hasKey (default dict $found.data) .key) }}
{{- index $found.data .key }}
{{- else }}
{{- randAlphaNum 48 | b64enc }}
{{- end }}
{{- end }}

{{/* Pod Security "restricted", and OpenShift's restricted-v2: no user is named, the platform or the image does. */}}
{{- define "windlass.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "windlass.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A password stands beside its address: whatever characters it has. */}}
{{- define "windlass.redisEnv" -}}
{{- if .Values.redis.embedded.enabled }}
- name: REDIS_URL
  value: redis://{{ include "windlass.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379/0
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "windlass.redisSecret" . }}, key: password}}
{{- else }}
{{- with .Values.redis.external }}
{{- if .url }}
- name: REDIS_URL
  value: {{ .url | quote }}
{{- if .existingSecret }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: password}}
{{- end }}
{{- else }}
- name: REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ required "redis.external: url or existingSecret is needed with redis.embedded.enabled: false" .existingSecret }}, key: url}}
{{- end }}
{{- if .caSecret }}
- {name: REDIS_CA_FILE, value: /etc/windlass/redis/ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* OpenShift gives pods users and groups of its own, and takes no others. */}}
{{- define "windlass.openshift" -}}
{{- if or .Values.route.enabled (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}true{{ end }}
{{- end }}

{{/*
A pod of ours. (dict "root" . "component" NAME "args" LIST "values" ITS-VALUES "extra" ENV-YAML "ports" YAML "probes" YAML "account" BOOL)
*/}}
{{- define "windlass.pod" -}}
{{- $ := .root }}
{{- /* The dashboard is others' code, and reads nothing but Redis: no document, key or Secret is within its reach. */}}
{{- $ours := ne .component "dashboard" }}
metadata:
  labels:
    {{- include "windlass.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $.Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/settings: {{ toYaml (list $.Values.settings $.Values.key $.Values.redis) | sha256sum }}
    {{- with $.Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include (eq .component "service" | ternary "windlass.receiverAccount" "windlass.serviceAccount") $ }}
  automountServiceAccountToken: {{ .account }}
  terminationGracePeriodSeconds: {{ add 15 $.Values.worker.drainSeconds }}
  securityContext: {{- include "windlass.podSecurity" $ | nindent 4 }}
  {{- with $.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $.Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "windlass.selector" $ | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
  containers:
    - name: {{ .component }}
      image: {{ include "windlass.image" $ }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: {{ toJson .args }}
      securityContext: {{- include "windlass.containerSecurity" $ | nindent 8 }}
      env:
        - {name: HOME, value: /tmp}
        - {name: WINDLASS_HOST, value: "::"}
        - {name: WINDLASS_PORT, value: "8480"}
        - {name: WINDLASS_METRICS_PORT, value: {{ $.Values.metrics.port | quote }}}
        {{- if not (hasKey $.Values.settings "WINDLASS_INSTALLATION") }}
        - {name: WINDLASS_INSTALLATION, value: {{ printf "%s/%s" $.Release.Namespace $.Release.Name }}}
        {{- end }}
        - {name: WINDLASS_DOCUMENTS, value: /etc/windlass/documents}
        - {name: WINDLASS_DATA, value: /var/lib/windlass}
        - {name: WINDLASS_KEY_FILE, value: /etc/windlass/key/{{ $.Values.key.name }}}
        {{- if ne $.Values.resources.scope "off" }}
        - {name: WINDLASS_RESOURCES, value: {{ eq $.Values.resources.scope "cluster" | ternary "cluster" (include "windlass.resourceNamespaces" $ | fromJsonArray | join ",") | quote }}}
        - {name: WINDLASS_RESOURCES_NAMESPACE, value: {{ include "windlass.ownNamespace" $ }}}
        {{- end }}
        {{- if and $.Values.checks (eq .component "worker") }}
        - {name: WINDLASS_CHECKS, value: /etc/windlass/checks}
        {{- end }}
        {{- include "windlass.redisEnv" $ | nindent 8 }}
        {{- with .extra }}{{ . | nindent 8 }}{{ end }}
        {{- range $name, $value := $.Values.settings }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- with .ports }}
      ports: {{- . | nindent 8 }}
      {{- end }}
      {{- with .probes }}{{ . | nindent 6 }}{{ end }}
      resources: {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if and (not $.Values.redis.embedded.enabled) $.Values.redis.external.caSecret }}
        - {name: redis-ca, mountPath: /etc/windlass/redis, readOnly: true}
        {{- end }}
        {{- if $ours }}
        - {name: documents, mountPath: /etc/windlass/documents, readOnly: true}
        - {name: key, mountPath: /etc/windlass/key, readOnly: true}
        - {name: data, mountPath: /var/lib/windlass}
        {{- if and $.Values.checks (eq .component "worker") }}
        - {name: checks, mountPath: /etc/windlass/checks, readOnly: true}
        {{- end }}
        {{- range $number, $name := include "windlass.mountedSecrets" $ | fromJsonArray }}
        - {name: secret-{{ $number }}, mountPath: /etc/windlass/secrets/{{ $name }}, readOnly: true}
        {{- end }}
        {{- range $number, $name := $.Values.configs }}
        - {name: config-{{ $number }}, mountPath: /etc/windlass/config/{{ $name }}, readOnly: true}
        {{- end }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
    {{- if and (not $.Values.redis.embedded.enabled) $.Values.redis.external.caSecret }}
    - {name: redis-ca, secret: {secretName: {{ $.Values.redis.external.caSecret }}}}
    {{- end }}
    {{- if $ours }}
    - {name: documents, configMap: {name: {{ include "windlass.documents" $ }}}}
    - {name: key, secret: {secretName: {{ include "windlass.keySecret" $ }}}}
    - {name: data, emptyDir: {sizeLimit: {{ $.Values.worker.data.size }}}}
    {{- if and $.Values.checks (eq .component "worker") }}
    - {name: checks, configMap: {name: {{ $.Values.checks }}, defaultMode: 0555}}
    {{- end }}
    {{- range $number, $name := include "windlass.mountedSecrets" $ | fromJsonArray }}
    - {name: secret-{{ $number }}, secret: {secretName: {{ $name }}}}
    {{- end }}
    {{- range $number, $name := $.Values.configs }}
    - {name: config-{{ $number }}, configMap: {name: {{ $name }}}}
    {{- end }}
    {{- end }}
{{- end }}
