{{/* Of `asrtune-operator`. What stands in `settings` has the name of its option. */}}
{{- define "asrtune.arguments" -}}
- run
{{- range .Values.namespaces }}
- --namespace={{ . }}
{{- end }}
- --image={{ include "asrtune.image" (dict "image" .Values.trainerImage "version" .Chart.AppVersion) }}
{{- range $name, $value := .Values.settings }}
- {{ printf "--%s=%v" (kebabcase $name) $value | quote }}
{{- end }}
{{- if .Values.lease.enabled }}
- --lease
- --lease-name={{ include "asrtune.lease" . }}
- --lease-namespace={{ .Release.Namespace }}
- --lease-holder=$(POD_NAME)
{{- else }}
- --no-lease
{{- end }}
{{- end }}
