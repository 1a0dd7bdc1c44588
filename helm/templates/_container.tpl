{{- /*
Templates for the chart of an application that lists this chart as a dependency and sets mode: sidecar. Their argument is
the context of this chart, .Subcharts.sidecast:

  initContainers:
    {{- include "sidecast.sidecar.initContainers" .Subcharts.sidecast | nindent 8 }}
  containers:
    {{- include "sidecast.sidecar.containers" .Subcharts.sidecast | nindent 8 }}
  volumes:
    {{- include "sidecast.volumes" .Subcharts.sidecast | nindent 8 }}
*/}}
{{- define "sidecast.sidecar.initContainers" -}}
{{- if .Values.sidecar.native -}}
- {{ include "sidecast.container" . | nindent 2 | trim }}
  restartPolicy: Always
{{- end }}
{{- end }}

{{- define "sidecast.sidecar.containers" -}}
{{- if not .Values.sidecar.native -}}
- {{ include "sidecast.container" . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "sidecast.env" -}}
- name: SIDECAST_EMBEDDED
  value: "false"
- name: SIDECAST_LISTEN
  value: ":{{ include "sidecast.httpPort" . }}"
- name: SIDECAST_ADMIN_LISTEN
  value: ":{{ .Values.ports.admin | int }}"
{{- range $name, $value := .Values.settings }}
- name: SIDECAST_{{ $name }}
  value: {{ if kindIs "float64" $value }}{{ int64 $value | toString | quote }}{{ else if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- $secret := .Values.existingSecret }}
{{- range $name, $key := $secret.keys }}
{{- if $secret.asFiles }}
- name: SIDECAST_{{ $name }}_FILE
  value: {{ printf "/run/secrets/sidecast/%s" $key | quote }}
{{- else }}
- name: SIDECAST_{{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ required "existingSecret.name is needed where existingSecret.keys are set" $secret.name }}
      key: {{ $key }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecast.container" -}}
name: sidecast
image: {{ include "sidecast.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "sidecast.env" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: sidecast
    containerPort: {{ include "sidecast.httpPort" . }}
    protocol: TCP
  - name: sidecast-admin
    containerPort: {{ .Values.ports.admin | int }}
    protocol: TCP
startupProbe:
  httpGet:
    path: /livez
    port: sidecast-admin
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: sidecast-admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- if eq .Values.mode "standalone" }}
readinessProbe:
  httpGet:
    path: /readyz
    port: sidecast-admin
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 1
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- $files := and .Values.existingSecret.asFiles .Values.existingSecret.keys }}
{{- if or $files .Values.extraVolumeMounts }}
volumeMounts:
  {{- if $files }}
  - name: sidecast-secrets
    mountPath: /run/secrets/sidecast
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "sidecast.volumes" -}}
{{- $secret := .Values.existingSecret }}
{{- if and $secret.asFiles $secret.keys }}
- name: sidecast-secrets
  secret:
    secretName: {{ required "existingSecret.name is needed where existingSecret.keys are set" $secret.name }}
    # The relay runs as neither their owner nor, in the pod of another chart, a member of their group.
    defaultMode: 0444
    items:
      {{- range $key := values $secret.keys | uniq | sortAlpha }}
      - key: {{ $key }}
        path: {{ $key }}
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
