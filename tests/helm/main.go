// Command helm-oracle answers what `helm template` prints, thousands of times
// in one process: it reads jobs as JSON lines and writes one answer a line.
// It calls what Helm's own command calls, in the same order, so that its
// answers are the binary's.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chartloader "helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// Job is one call of `helm template`.
type Job struct {
	Chart       string            `json:"chart"`
	Files       map[string]string `json:"files"` // a chart in memory, instead
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Values      []string          `json:"values"` // texts of value files, in order
	Set         []string          `json:"set"`
	SetString   []string          `json:"set_string"`
	SetJSON     []string          `json:"set_json"`
	SetLiteral  []string          `json:"set_literal"`
	SetFile     []string          `json:"set_file"`
	KubeVersion string            `json:"kube_version"`
	APIVersions []string          `json:"api_versions"`
	IncludeCRDs bool              `json:"include_crds"`
	NoHooks     bool              `json:"no_hooks"`
	SkipTests   bool              `json:"skip_tests"`
	SkipSchema  bool              `json:"skip_schema"`
	IsUpgrade   bool              `json:"is_upgrade"`
	ShowOnly    []string          `json:"show_only"`
	Notes       bool              `json:"notes"`     // answer with the notes, too
	Effective   bool              `json:"effective"` // answer with the values that templates see, as JSON
	Repeat      int               `json:"repeat"`    // measure this many runs
}

// Answer holds the output, or why there is none.
type Answer struct {
	Output   *string `json:"output,omitempty"`
	Error    *string `json:"error,omitempty"`
	Notes    *string `json:"notes,omitempty"`
	LoadNs   int64   `json:"load_ns,omitempty"`
	RenderNs int64   `json:"render_ns,omitempty"`
}

func main() {
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	mode := "serve"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	var err error
	switch mode {
	case "serve":
		err = serve(os.Stdin, os.Stdout)
	case "functions":
		err = functions(os.Stdout)
	case "validate":
		err = validate(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("usage: helm-oracle [serve | functions | validate], not %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm-oracle:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	reader := bufio.NewReaderSize(in, 1<<20)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var job Job
		if err := json.Unmarshal(line, &job); err != nil {
			return fmt.Errorf("job %q: %w", line, err)
		}
		if err := encoder.Encode(answer(job)); err != nil {
			return err
		}
	}
}

func answer(job Job) (reply Answer) {
	defer func() {
		if caught := recover(); caught != nil {
			text := fmt.Sprintf("panic: %v\n%s", caught, debug.Stack())
			reply = Answer{Error: &text}
		}
	}()
	vals, err := readValues(job)
	if err != nil {
		return refused(err)
	}
	loaded, err := load(job)
	if err != nil {
		return refused(err)
	}
	if job.Effective {
		return effective(loaded, vals)
	}
	rel, err := render(job, loaded, vals)
	if err != nil {
		return refused(err)
	}
	output := printed(job, rel)
	if len(job.ShowOnly) > 0 {
		if output, err = selected(job, output); err != nil {
			return refused(err)
		}
	}
	reply.Output = &output
	if job.Notes {
		reply.Notes = &rel.Info.Notes
	}
	if job.Repeat > 0 {
		reply.LoadNs, reply.RenderNs, err = measure(job)
		if err != nil {
			return refused(err)
		}
	}
	return reply
}

func refused(err error) Answer {
	text := err.Error()
	return Answer{Error: &text}
}

// readValues merges value files and --set flags as the command line does.
func readValues(job Job) (map[string]any, error) {
	options, clean, err := valueOptions(job)
	if err != nil {
		return nil, err
	}
	defer clean()
	return options.MergeValues(getter.All(cli.New()))
}

// valueOptions writes the job's value files; clean takes them away again.
func valueOptions(job Job) (options values.Options, clean func(), err error) {
	options = values.Options{
		Values: job.Set, StringValues: job.SetString, JSONValues: job.SetJSON,
		LiteralValues: job.SetLiteral, FileValues: job.SetFile,
	}
	if len(job.Values) == 0 {
		return options, func() {}, nil
	}
	directory, err := os.MkdirTemp("", "helm-oracle")
	if err != nil {
		return options, nil, err
	}
	clean = func() { _ = os.RemoveAll(directory) }
	for index, text := range job.Values {
		path := filepath.Join(directory, fmt.Sprintf("%d.yaml", index))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			clean()
			return options, nil, err
		}
		options.ValueFiles = append(options.ValueFiles, path)
	}
	return options, clean, nil
}

// load does what the command does between locating a chart and rendering it.
func load(job Job) (chart.Charter, error) {
	var loaded chart.Charter
	var err error
	if job.Files != nil {
		var files []*archive.BufferedFile
		for _, name := range slices.Sorted(maps.Keys(job.Files)) {
			files = append(files, &archive.BufferedFile{Name: name, Data: []byte(job.Files[name])})
		}
		loaded, err = chartloader.LoadFiles(files)
	} else {
		loaded, err = loader.Load(job.Chart)
	}
	if err != nil {
		return nil, err
	}
	accessor, err := chart.NewAccessor(loaded)
	if err != nil {
		return nil, err
	}
	if kind, _ := accessor.MetadataAsMap()["Type"].(string); kind != "" && kind != "application" {
		return nil, fmt.Errorf("%s charts are not installable", kind)
	}
	if wanted := accessor.MetaDependencies(); len(wanted) > 0 {
		if err := action.CheckDependencies(loaded, wanted); err != nil {
			return nil, fmt.Errorf("an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to fetch missing dependencies: %w", err)
		}
	}
	return loaded, nil
}

func render(job Job, loaded chart.Charter, vals map[string]any) (*release.Release, error) {
	client := action.NewInstall(action.NewConfiguration())
	client.DryRunStrategy = action.DryRunClient
	client.Replace = true
	client.ReleaseName = job.Name
	client.Namespace = job.Namespace
	client.APIVersions = common.VersionSet(job.APIVersions)
	client.IncludeCRDs = job.IncludeCRDs
	client.DisableHooks = job.NoHooks
	client.IsUpgrade = job.IsUpgrade
	client.SkipSchemaValidation = job.SkipSchema
	if job.KubeVersion != "" {
		version, err := common.ParseKubeVersion(job.KubeVersion)
		if err != nil {
			return nil, fmt.Errorf("invalid kube version '%s': %w", job.KubeVersion, err)
		}
		client.KubeVersion = version
	}
	result, err := client.Run(loaded, vals)
	if err != nil {
		return nil, err
	}
	rel, ok := result.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("unexpected release type %T", result)
	}
	return rel, nil
}

// printed is the text that the command writes for a release.
func printed(job Job, rel *release.Release) string {
	var manifests bytes.Buffer
	fmt.Fprintln(&manifests, strings.TrimSpace(rel.Manifest))
	if !job.NoHooks {
		for _, hook := range rel.Hooks {
			if job.SkipTests && slices.Contains(hook.Events, release.HookTest) {
				continue
			}
			fmt.Fprintf(&manifests, "---\n# Source: %s\n%s\n", hook.Path, hook.Manifest)
		}
	}
	return manifests.String()
}

// selected keeps the manifests of the templates that --show-only names.
func selected(job Job, output string) (string, error) {
	manifests := releaseutil.SplitManifests(output)
	keys := slices.Collect(maps.Keys(manifests))
	sort.Sort(releaseutil.BySplitManifestsOrder(keys))
	source := regexp.MustCompile("# Source: [^/]+/(.+)")
	var result strings.Builder
	for _, pattern := range job.ShowOnly {
		missing := true
		for _, key := range keys {
			name := source.FindStringSubmatch(manifests[key])
			if len(name) == 0 {
				continue
			}
			if matched, _ := filepath.Match(pattern, name[1]); matched {
				fmt.Fprintf(&result, "---\n%s\n", manifests[key])
				missing = false
			}
		}
		if missing {
			return "", fmt.Errorf("could not find template %s in chart", pattern)
		}
	}
	return result.String(), nil
}

// effective answers with the chart's own values under the given ones.
func effective(loaded chart.Charter, vals map[string]any) Answer {
	merged, err := util.CoalesceValues(loaded, vals)
	if err != nil {
		return refused(err)
	}
	text, err := json.Marshal(merged)
	if err != nil {
		return refused(err)
	}
	output := string(text)
	return Answer{Output: &output}
}

// measure takes the least times of loading, values included, and of
// rendering: those that others on the machine disturbed least. Rendering changes the chart, so each run has a fresh one.
func measure(job Job) (int64, int64, error) {
	options, clean, err := valueOptions(job)
	if err != nil {
		return 0, 0, err
	}
	defer clean()
	var loads, renders []int64
	for range job.Repeat {
		start := time.Now()
		vals, err := options.MergeValues(getter.All(cli.New()))
		if err != nil {
			return 0, 0, err
		}
		loaded, err := load(job)
		loads = append(loads, time.Since(start).Nanoseconds())
		if err != nil {
			return 0, 0, err
		}
		start = time.Now()
		rel, err := render(job, loaded, vals)
		if err != nil {
			return 0, 0, err
		}
		_ = printed(job, rel)
		renders = append(renders, time.Since(start).Nanoseconds())
	}
	return slices.Min(loads), slices.Min(renders), nil
}
