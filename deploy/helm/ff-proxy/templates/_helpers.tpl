{{- define "ff-proxy.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "ff-proxy" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-ff-proxy" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ff-proxy.selector" -}}
app.kubernetes.io/name: ff-proxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ff-proxy.labels" -}}
{{ include "ff-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "ff-proxy.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "ff-proxy.secretName" -}}
{{- .Values.secret.existing | default (include "ff-proxy.name" .) -}}
{{- end -}}

{{- define "ff-proxy.serviceAccountName" -}}
{{- .Values.serviceAccount.existing | default (include "ff-proxy.name" .) -}}
{{- end -}}

{{/* Whether a proxy mounts the secret ("true" or nothing). Takes a dict of root and replica (bool). */}}
{{- define "ff-proxy.mountsSecret" -}}
{{- $v := .root.Values -}}
{{- if or $v.secret.existing $v.secret.authSecret $v.secret.redisPassword (not (or .replica $v.offline.enabled)) -}}
true
{{- end -}}
{{- end -}}

{{/* Reject combinations that would install but not work, and name the value to change. */}}
{{- define "ff-proxy.check" -}}
{{- $v := .Values -}}
{{- if not $v.offline.enabled -}}
{{- if not (and $v.harness.accountIdentifier $v.harness.orgIdentifier) -}}
{{- fail "harness.accountIdentifier and harness.orgIdentifier are required, or offline.enabled" -}}
{{- end -}}
{{- if not (or $v.secret.existing (and $v.secret.adminServiceToken $v.secret.apiKeys)) -}}
{{- fail "secret.existing, or secret.adminServiceToken and secret.apiKeys, are required, or offline.enabled" -}}
{{- end -}}
{{- end -}}
{{- if and $v.offline.enabled (not (or $v.offline.environments $v.offline.configMaps)) -}}
{{- fail "offline.enabled needs offline.environments or offline.configMaps" -}}
{{- end -}}
{{- $many := or (gt (int $v.replicaCount) 1) $v.autoscaling.enabled -}}
{{- if and $many (not $v.redis.address) (not (or $v.secret.existing $v.secret.authSecret)) -}}
{{- fail "several proxies need the same token secret: set redis.address, secret.authSecret or secret.existing, or replicaCount 1" -}}
{{- end -}}
{{- if and $v.persistence.enabled $many -}}
{{- fail "persistence.enabled requires replicaCount 1; use redis.address for more" -}}
{{- end -}}
{{- if and (gt (int $v.readReplicas) 0) (or $v.offline.enabled (not $v.redis.address)) -}}
{{- fail "readReplicas need redis.address, and are not for offline mode" -}}
{{- end -}}
{{- if ge (int $v.shutdown.delay) (int $v.shutdown.deadline) -}}
{{- fail "shutdown.deadline must be greater than shutdown.delay" -}}
{{- end -}}
{{- range $name, $value := $v.options -}}
{{- if has $name (list "port" "prometheus-port" "api-keys" "admin-service-token" "auth-secret" "redis-password" "redis-address" "shutdown-delay" "shutdown-deadline" "offline" "config-dir" "data-dir" "read-replica") -}}
{{- fail (printf "options.%s: use the value of the chart for this" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The environment of a proxy. Takes a dict of root and replica (bool). */}}
{{- define "ff-proxy.env" -}}
{{- $v := .root.Values -}}
- name: PROMETHEUS_PORT
  value: {{ $v.metrics.port | quote }}
- name: SHUTDOWN_DELAY
  value: {{ $v.shutdown.delay | quote }}
- name: SHUTDOWN_DEADLINE
  value: {{ $v.shutdown.deadline | quote }}
{{- if .replica }}
- name: READ_REPLICA
  value: "true"
{{- else if $v.offline.enabled }}
- name: OFFLINE
  value: "true"
{{- else }}
- name: ACCOUNT_IDENTIFIER
  value: {{ $v.harness.accountIdentifier | quote }}
- name: ORG_IDENTIFIER
  value: {{ $v.harness.orgIdentifier | quote }}
- name: ADMIN_SERVICE_TOKEN_FILE
  value: /run/secrets/ff-proxy/admin-service-token
- name: API_KEYS_FILE
  value: /run/secrets/ff-proxy/api-keys
{{- end }}
{{- if or $v.secret.existing $v.secret.authSecret }}
- name: AUTH_SECRET_FILE
  value: /run/secrets/ff-proxy/auth-secret
{{- end }}
{{- with $v.redis.address }}
- name: REDIS_ADDRESS
  value: {{ . | quote }}
- name: REDIS_PREFIX
  value: {{ $v.redis.prefix | quote }}
{{- with $v.redis.username }}
- name: REDIS_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- if or $v.secret.redisPassword $v.redis.passwordInSecret }}
- name: REDIS_PASSWORD_FILE
  value: /run/secrets/ff-proxy/redis-password
{{- end }}
{{- end }}
{{- if $v.persistence.enabled }}
- name: DATA_DIR
  value: /data
{{- end }}
{{- if $v.tls.secret }}
- name: TLS_ENABLED
  value: "true"
- name: TLS_CERT
  value: /run/secrets/tls/tls.crt
- name: TLS_KEY
  value: /run/secrets/tls/tls.key
{{- if $v.tls.clientCa }}
- name: TLS_CLIENT_CA
  value: /run/secrets/tls/ca.crt
{{- end }}
{{- end }}
{{- range $name, $value := $v.options }}
- name: {{ $name | upper | replace "-" "_" }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ff-proxy.probe" -}}
{{- $v := .root.Values -}}
{{- if and $v.tls.secret $v.tls.clientCa -}}
exec:
  # The kubelet has no client certificate.
  command: [ff-proxy, {{ .command }}]
{{- else -}}
httpGet:
  path: /health/{{ .path }}
  port: http
  scheme: {{ ternary "HTTPS" "HTTP" (ne $v.tls.secret "") }}
{{- end -}}
{{- end -}}
