package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// Rendered is one chart's output, to be validated.
type Rendered struct {
	Chart  string `json:"chart"`
	Output string `json:"output"`
}

// Verdict counts the custom resources of one chart.
type Verdict struct {
	Chart   string   `json:"chart"`
	Valid   int      `json:"valid"`
	Unknown int      `json:"unknown"` // no definition was rendered by any chart
	Invalid []string `json:"invalid"`
}

type definition struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
}

// validate reads rendered charts as JSON lines, takes the definitions that
// are among them, and judges every custom resource as the API server does when
// it validates strictly: unknown fields are errors.
func validate(in io.Reader, out io.Writer) error {
	var charts []Rendered
	reader := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			var chart Rendered
			if err := json.Unmarshal(line, &chart); err != nil {
				return err
			}
			charts = append(charts, chart)
		}
		if err != nil {
			break
		}
	}
	definitions := map[string]definition{}
	for _, chart := range charts {
		for _, object := range objects(chart.Output) {
			if object["kind"] == "CustomResourceDefinition" {
				define(definitions, object)
			}
		}
	}
	encoder := json.NewEncoder(out)
	for _, chart := range charts {
		verdict := Verdict{Chart: chart.Chart, Invalid: []string{}}
		for _, object := range objects(chart.Output) {
			judge(&verdict, definitions, object)
		}
		if err := encoder.Encode(verdict); err != nil {
			return err
		}
	}
	return nil
}

func objects(output string) []map[string]any {
	var found []map[string]any
	for _, text := range releaseutil.SplitManifests(output) {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(text), &object); err == nil && object != nil {
			found = append(found, object)
		}
	}
	return found
}

func define(definitions map[string]definition, object map[string]any) {
	text, err := json.Marshal(object)
	if err != nil {
		return
	}
	var crd v1.CustomResourceDefinition
	if err := json.Unmarshal(text, &crd); err != nil {
		return
	}
	for _, version := range crd.Spec.Versions {
		if version.Schema == nil || version.Schema.OpenAPIV3Schema == nil {
			continue
		}
		var internal apiextensions.JSONSchemaProps
		if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &internal, nil); err != nil {
			continue
		}
		structural, err := schema.NewStructural(&internal)
		if err != nil {
			continue
		}
		validator, _, err := validation.NewSchemaValidator(&internal)
		if err != nil {
			continue
		}
		key := crd.Spec.Group + "/" + version.Name + "/" + crd.Spec.Names.Kind
		definitions[key] = definition{structural, validator}
	}
}

// builtIn holds the groups that Kubernetes itself serves.
func builtIn(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && !strings.Contains(group, ".x-k8s.io") &&
		!strings.HasPrefix(group, "gateway.") && !strings.HasPrefix(group, "snapshot.") && !strings.HasPrefix(group, "metrics.")
}

func judge(verdict *Verdict, definitions map[string]definition, object map[string]any) {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	group, _, found := strings.Cut(version, "/")
	if !found || builtIn(group) {
		return
	}
	known, ok := definitions[version+"/"+kind]
	if !ok {
		verdict.Unknown++
		return
	}
	name := kind
	if metadata, ok := object["metadata"].(map[string]any); ok {
		name = fmt.Sprintf("%s/%v", kind, metadata["name"])
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, known.structural)
	defaulting.Default(object, known.structural)
	unknown := pruning.PruneWithOptions(object, known.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		verdict.Invalid = append(verdict.Invalid, fmt.Sprintf("%s: unknown field %s", name, path))
	}
	errs := validation.ValidateCustomResource(field.NewPath(""), object, known.validator)
	for _, err := range errs {
		verdict.Invalid = append(verdict.Invalid, fmt.Sprintf("%s: %v", name, err))
	}
	if len(unknown) == 0 && len(errs) == 0 {
		verdict.Valid++
	}
}
