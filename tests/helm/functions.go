package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/Masterminds/sprig/v3"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"
)

// Names that Helm and text/template add to sprig's.
var added = []string{
	"toToml", "mustToToml", "fromToml", "toYaml", "mustToYaml", "toYamlPretty", "fromYaml",
	"fromYamlArray", "toJson", "mustToJson", "fromJson", "fromJsonArray", "include", "tpl",
	"required", "lookup", "fail",
	"mustToDuration", "durationSeconds", "durationMilliseconds", "durationMicroseconds",
	"durationNanoseconds", "durationMinutes", "durationHours", "durationDays", "durationWeeks",
	"durationRoundTo", "durationTruncateTo",
	"and", "break", "call", "continue", "eq", "ge", "gt", "html", "index", "js", "le", "len",
	"lt", "ne", "not", "or", "print", "printf", "println", "slice", "urlquery",
}

// functions lists every function that a template may call, one a line: a name
// counts when the engine accepts a template that mentions it.
func functions(out io.Writer) error {
	names := slices.Clone(added)
	for name := range sprig.TxtFuncMap() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		text := fmt.Sprintf("{{ range list }}{{ %s }}{{ end }}", name)
		probe := &chart.Chart{
			Metadata:  &chart.Metadata{Name: "probe", Version: "0.1.0"},
			Templates: []*common.File{{Name: "templates/probe", Data: []byte(text)}},
		}
		if _, err := engine.Render(probe, common.Values{"Values": map[string]any{}}); err == nil {
			if _, err := fmt.Fprintln(out, name); err != nil {
				return err
			}
		}
	}
	return nil
}
