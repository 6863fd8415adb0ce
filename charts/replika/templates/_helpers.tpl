{{/* The operator's namespace. */}}
{{- define "replika.namespace" -}}
{{ .Values.namespace.name | default .Release.Namespace }}
{{- end }}

{{/*
Not empty if the Namespace is one of the objects. When Helm installs a release, --create-namespace makes the Namespace of the
release, and Helm fails if the release has it as well. Without a cluster (helm template, Argo CD), lookup finds nothing.
*/}}
{{- define "replika.hasNamespace" -}}
{{- $installs := lookup "v1" "Namespace" "" "default" }}
{{- $isOther := ne (include "replika.namespace" .) .Release.Namespace }}
{{- if and .Values.namespace.create (or $isOther (not $installs)) }}true{{ end }}
{{- end }}

{{/* The operator's image. */}}
{{- define "replika.image" -}}
{{ .Values.image.repository }}
{{- with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The operator's arguments, as a JSON list: first the flags that are set by default, in the order of the manifests. */}}
{{- define "replika.args" -}}
{{- $args := list }}
{{- range $name := concat (fromJsonArray `["leader-elect","health-probe-bind-address","metrics-bind-address","excluded-namespaces"]`) (keys .Values.flags | sortAlpha) | uniq }}
{{- $value := get $.Values.flags $name }}
{{- range $one := kindIs "slice" $value | ternary $value (list $value) }}
{{- if and (kindIs "bool" $one) $one }}
{{- $args = append $args (printf "--%s" $name) }}
{{- else if not (or (kindIs "invalid" $one) (eq (toString $one) "")) }}
{{- $args = append $args (printf "--%s=%s" $name (kindIs "string" $one | ternary $one (toJson $one))) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $args }}
{{- end }}
