{{- define "sidecast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "sidecast.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "sidecast.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "sidecast.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sidecast.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sidecast.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sidecast.labels" -}}
{{ include "sidecast.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* The labels of the pods that contain a relay. */}}
{{- define "sidecast.podSelector" -}}
{{- if eq .Values.mode "sidecar" }}
{{- toYaml .Values.sidecar.podLabels }}
{{- else }}
{{- include "sidecast.selectorLabels" . }}
{{- end }}
{{- end }}

{{- define "sidecast.hasPods" -}}
{{- if or (eq .Values.mode "standalone") .Values.sidecar.podLabels }}true{{ end }}
{{- end }}

{{- define "sidecast.image" -}}
{{- with .Values.image }}
{{- $_ := required "image.repository is needed, because no image is published yet: build one, push it to your registry, and set image.repository and image.tag (see the chart's README.md)" .repository }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The settings that contain a secret and are not in a Secret. A password in REDIS_URL counts. */}}
{{- define "sidecast.openSecrets" -}}
{{- $open := list }}
{{- range $name, $value := .Values.settings }}
{{- if has $name (list "REDIS_PASSWORD" "REDIS_SENTINEL_PASSWORD" "JWT_SECRET" "JWT_PREVIOUS_SECRET" "CHANNEL_SECRET" "CHANNEL_PREVIOUS_SECRET" "PUSHER_SECRET" "EVENTS_SECRET" "ADMIN_TOKEN" "PUBLISH_TOKEN") }}
{{- $open = append $open $name }}
{{- else if and (eq $name "REDIS_URL") (regexMatch "://[^/?#]*:[^/?#]*@" ($value | toString)) }}
{{- $open = append $open $name }}
{{- end }}
{{- end }}
{{- join ", " $open }}
{{- end }}

{{- define "sidecast.httpPort" -}}
{{- if .Values.ports.http }}
{{- .Values.ports.http | int }}
{{- else if eq .Values.mode "sidecar" }}8090
{{- else }}8080
{{- end }}
{{- end }}

{{- /* The paths of a route, a JSON list: those in the values, and those that the settings for Laravel need. The API of the
application, /apps, is not for browsers. */}}
{{- define "sidecast.routePaths" -}}
{{- $paths := .paths }}
{{- $settings := .root.Values.settings }}
{{- $keys := .root.Values.existingSecret.keys | default dict }}
{{- if or (hasKey $settings "PUSHER_KEY") (hasKey $keys "PUSHER_KEY") }}
{{- $paths = append $paths (printf "%s/app" ($settings.BASE_PATH | default "")) }}
{{- end }}
{{- with $settings.BROADCAST_AUTH_URL }}
{{- $paths = append $paths (urlParse .).path }}
{{- end }}
{{- $paths | uniq | toJson }}
{{- end }}
