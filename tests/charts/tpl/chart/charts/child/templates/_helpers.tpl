{{- define "child.name" -}}child of {{ .Chart.Name }}{{- end -}}
{{- define "tpl.host" -}}overridden by the child{{- end -}}
