{{/* Beginning of every name. */}}
{{- define "asrtune.fullname" -}}
{{- $name := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-asrtune" .Release.Name) (contains "asrtune" .Release.Name)) }}
{{- $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Name of what is the operator's own. */}}
{{- define "asrtune.operator" -}}
{{ include "asrtune.fullname" . }}-operator
{{- end }}

{{/* By which the operator's pods are selected; never changes, as a Deployment's selector must not. */}}
{{- define "asrtune.selector" -}}
app.kubernetes.io/name: asrtune
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "asrtune.labels" -}}
{{ include "asrtune.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: asrtune
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "asrtune.monitoringLabels" -}}
{{ include "asrtune.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "asrtune.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "asrtune.operator" .) }}
{{- end }}

{{- define "asrtune.lease" -}}
{{ .Values.lease.name | default (include "asrtune.operator" .) }}
{{- end }}

{{/* Of {image, version}: the image by its digest, else by its tag, else by the version. */}}
{{- define "asrtune.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .version }}
{{- end }}
{{- end }}

{{/* The rights of files/rbac/, as {work: rules, lease: rules}. */}}
{{- define "asrtune.rights" -}}
{{- $file := printf "files/rbac/%s.yaml" (ternary "namespaced" "cluster" (not (empty .Values.namespaces))) }}
{{- $work := list }}
{{- $lease := list }}
{{- range regexSplit "(?m)^---$" (.Files.Get $file) -1 }}
  {{- range (fromYaml .).rules }}
    {{- if has "coordination.k8s.io" .apiGroups }}
      {{- if hasKey . "resourceNames" }}{{ $_ := set . "resourceNames" (list (include "asrtune.lease" $)) }}{{ end }}
      {{- $lease = append $lease . }}
    {{- else }}
      {{- $work = append $work . }}
    {{- end }}
  {{- end }}
{{- end }}
{{- toYaml (dict "work" $work "lease" $lease) }}
{{- end }}

{{/* What the schema cannot say. */}}
{{- define "asrtune.check" -}}
{{- if and (not .Values.lease.enabled) (gt (int .Values.replicas) 1) }}
{{- fail "lease.enabled is false, so two replicas would work at the same time: set replicas to 1, or lease.enabled to true." }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (empty .Values.networkPolicy.namespaces) (empty .Values.namespaces) }}
{{- fail "networkPolicy.enabled needs to know where runs live: list their namespaces in networkPolicy.namespaces." }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (empty .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false, so serviceAccount.name must say which ServiceAccount there is." }}
{{- end }}
{{- end }}
