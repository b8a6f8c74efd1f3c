{{- define "refuse.inner" -}}
  {{- .Values.missing.deeper -}}
{{- end -}}
{{- define "refuse.outer" -}}
  {{- include "refuse.inner" . -}}
{{- end -}}
{{- define "refuse.forever" -}}{{ include "refuse.forever" . }}{{- end -}}
{{- define "refuse.forever.template" -}}{{ template "refuse.forever.template" . }}{{- end -}}
