{{- define "tpl.host" -}}host-{{ .Values.plain }}{{- end -}}
{{- define "tpl.render" -}}
{{- $value := typeIs "string" .value | ternary .value (.value | toYaml) }}
{{- if contains "{{" (toJson .value) }}{{ tpl $value .context }}{{ else }}{{ $value }}{{ end }}
{{- end -}}
{{- define "tpl.count" -}}
{{- if gt (int .n) 0 }}{{ .n }},{{ include "tpl.count" (dict "n" (sub .n 1)) }}{{ end -}}
{{- end -}}
{{- define "tpl.mutate" -}}{{- $_ := set . "seen" (add (.seen | default 0) 1) -}}{{- end -}}
