{{- define "lib.greet" -}}
hello {{ .name }}
{{- end -}}
