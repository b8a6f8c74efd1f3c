// Prints crates/sim/src/types.txt: the fields of all built-in kinds that the
// embedded cluster serves, as the real server's own types and OpenAPI have them.
// Run in tests/cluster: go run ./types >../../crates/sim/src/types.txt
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	registration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

// Types with a form of their own on the wire.
var scalars = map[string]string{
	"Time": "t", "MicroTime": "T", "Quantity": "q", "IntOrString": "x", "RawExtension": "*", "FieldsV1": "*",
	"JSON": "*", "JSONSchemaPropsOrArray": "*", "JSONSchemaPropsOrBool": "*", "JSONSchemaPropsOrStringArray": "*", "Duration": "s",
}

type printer struct {
	definitions map[string]common.OpenAPIDefinition
	names       map[reflect.Type]string
	taken       map[string]reflect.Type
	lines       map[string]string
}

func (p *printer) definition(of reflect.Type) spec.Schema {
	path := of.PkgPath() + "." + of.Name()
	if found, ok := p.definitions[path]; ok {
		return found.Schema
	}
	if named, ok := reflect.New(of).Interface().(interface{ OpenAPIModelName() string }); ok {
		return p.definitions[named.OpenAPIModelName()].Schema
	}
	return spec.Schema{}
}

func (p *printer) name(of reflect.Type) string {
	if name, ok := p.names[of]; ok {
		return name
	}
	name := of.Name()
	if _, ok := p.taken[name]; ok {
		parts := strings.Split(of.PkgPath(), "/")
		name += "_" + parts[len(parts)-2]
	}
	p.names[of], p.taken[name] = name, of
	p.lines[name] = "" // in work
	p.lines[name] = strings.Join(p.fields(of, p.definition(of)), " ")
	return name
}

func (p *printer) fields(of reflect.Type, definition spec.Schema) []string {
	var out []string
	for i := 0; i < of.NumField(); i++ {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" && (field.Anonymous || strings.Contains(options, "inline")) {
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Name() != "TypeMeta" {
				out = append(out, p.fields(inner, p.definition(inner))...)
			}
			continue
		}
		pointer := field.Type.Kind() == reflect.Pointer
		flag := ""
		switch {
		case pointer || strings.Contains(options, "omitzero"):
			flag = "~"
		case strings.Contains(options, "omitempty"):
			flag = "?"
		}
		out = append(out, name+flag+":"+p.kind(field.Type, definition.Properties[name]))
	}
	return out
}

func extension(from spec.Schema, name string) string {
	text, _ := from.Extensions[name].(string)
	return text
}

func (p *printer) kind(of reflect.Type, schema spec.Schema) string {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if scalar, ok := scalars[of.Name()]; ok && of.Kind() == reflect.Struct {
		return scalar
	}
	atomic := extension(schema, "x-kubernetes-map-type") == "atomic"
	switch of.Kind() {
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Int64:
		return "l"
	case reflect.Int, reflect.Int32, reflect.Uint8, reflect.Int16, reflect.Uint32:
		return "i"
	case reflect.Float64, reflect.Float32:
		return "n"
	case reflect.Interface:
		return "*"
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return "y"
		}
		keys := ""
		switch extension(schema, "x-kubernetes-list-type") {
		case "set":
			keys = "="
		case "map":
			var all []string
			switch list := schema.Extensions["x-kubernetes-list-map-keys"].(type) {
			case []string:
				all = list
			case []interface{}:
				for _, key := range list {
					all = append(all, key.(string))
				}
			}
			inner := p.definition(of.Elem())
			for i, key := range all {
				if value, ok := inner.Properties[key]; ok && value.Default == "TCP" {
					all[i] = fmt.Sprintf("%s=%v", key, value.Default)
				}
			}
			keys = strings.Join(all, ",")
		}
		var items spec.Schema
		if schema.Items != nil && schema.Items.Schema != nil {
			items = *schema.Items.Schema
		}
		return "[" + keys + "]" + p.kind(of.Elem(), items)
	case reflect.Map:
		if atomic {
			return "{!}" + p.kind(of.Elem(), spec.Schema{})
		}
		return "{}" + p.kind(of.Elem(), spec.Schema{})
	case reflect.Struct:
		name := p.name(of)
		if atomic || extension(p.definition(of), "x-kubernetes-map-type") == "atomic" {
			return "!" + name
		}
		return name
	}
	panic(of.String())
}

func main() {
	known := scheme.Scheme
	for _, add := range []func(*runtime.Scheme) error{extensions.AddToScheme, registration.AddToScheme} {
		if err := add(known); err != nil {
			panic(err)
		}
	}
	reference := func(path string) spec.Ref { return spec.MustCreateRef(path) }
	p := &printer{openapi.GetOpenAPIDefinitions(reference), map[reflect.Type]string{}, map[string]reflect.Type{}, map[string]string{}}
	file, err := os.Open("../../crates/sim/src/kinds.txt")
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		group := words[0]
		if group == "-" {
			group = ""
		}
		made, err := known.New(schema.GroupVersionKind{Group: group, Version: words[1], Kind: words[2]})
		if err != nil {
			panic(err)
		}
		p.name(reflect.TypeOf(made).Elem())
	}
	var names []string
	for name := range p.lines {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(strings.TrimSpace(name + " " + p.lines[name]))
	}
}
