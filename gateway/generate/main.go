// Command generate writes gateway/routes.yaml from gateway/openapi.yaml. Run it by: go generate ./gateway/...
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"caravan/gateway/route"
)

// head is the comment above the routes.
//
//go:embed head.yaml
var head string

// defaultBody is the largest request body of an operation that names none.
const defaultBody = "16KiB"

func main() {
	if err := write("openapi.yaml", "routes.yaml"); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func write(from, to string) error {
	source, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	routes, err := generate(source)
	if err != nil {
		return fmt.Errorf("making routes of %s: %w", from, err)
	}
	if err := os.WriteFile(to, routes, 0o644); err != nil {
		return fmt.Errorf("writing the routes: %w", err)
	}
	return nil
}

// document is the part of the OpenAPI document that routes are made of.
type document struct {
	Security   []requirement `yaml:"security"`
	Tags       []*tag        `yaml:"tags"`
	Paths      yaml.Node     `yaml:"paths"` // a node, because the order counts
	Components struct {
		Parameters map[string]parameter `yaml:"parameters"`
	} `yaml:"components"`
}

type requirement map[string][]string

type parameter struct {
	Ref  string `yaml:"$ref"`
	Name string `yaml:"name"`
	In   string `yaml:"in"`
}

// tag is a group of operations.
type tag struct {
	Name        string         `yaml:"name"`
	Description string         `yaml:"description"`
	Route       map[string]any `yaml:"x-route"` // of all its operations

	lines []string // its routes, a line each
}

type operation struct {
	Tags       []string       `yaml:"tags"`
	Security   *[]requirement `yaml:"security"`
	Parameters []parameter    `yaml:"parameters"`
	Route      map[string]any `yaml:"x-route"`
}

// generate returns the routes of an OpenAPI document, in the form that the gateway reads.
func generate(source []byte) ([]byte, error) {
	var d document
	if err := yaml.Unmarshal(source, &d); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	var apps []string
	err := d.operations(func(method, path string, o operation) error {
		fields, of, err := d.route(method, path, o)
		if err != nil {
			return err
		}
		if app, ok := fields["app"].(string); ok && app != route.Gateway && !slices.Contains(apps, app) {
			apps = append(apps, app)
		}
		line, err := flow(fields)
		if err != nil {
			return err
		}
		// The gateway refuses a wrong value. Checking each route alone names the operation.
		if _, err := route.Parse(file("", slices.Concat(apps, []string{"other"}), []*tag{{lines: []string{line}}}), route.Known{}); err != nil {
			return err
		}
		of.lines = append(of.lines, line)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := file(head, apps, d.Tags)
	if _, err := route.Parse(out, route.Known{}); err != nil {
		return nil, err
	}
	return out, nil
}

// operations calls visit for every operation, in the order of the document. The parameters of a path are among those of
// its operations.
func (d *document) operations(visit func(method, path string, o operation) error) error {
	for i := 0; i+1 < len(d.Paths.Content); i += 2 {
		path, item := d.Paths.Content[i].Value, d.Paths.Content[i+1]
		var common struct {
			Parameters []parameter `yaml:"parameters"`
		}
		if err := item.Decode(&common); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for j := 0; j+1 < len(item.Content); j += 2 {
			method := strings.ToUpper(item.Content[j].Value)
			if slices.Contains([]string{"PARAMETERS", "SUMMARY", "DESCRIPTION", "SERVERS"}, method) {
				continue
			}
			var o operation
			err := item.Content[j+1].Decode(&o)
			if err == nil {
				o.Parameters = slices.Concat(common.Parameters, o.Parameters)
				err = visit(method, path, o)
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", method, path, err)
			}
		}
	}
	return nil
}

// route returns the fields of an operation's route, and its tag.
func (d *document) route(method, path string, o operation) (map[string]any, *tag, error) {
	i := slices.IndexFunc(d.Tags, func(t *tag) bool { return len(o.Tags) == 1 && t.Name == o.Tags[0] })
	if i < 0 {
		return nil, nil, fmt.Errorf("it needs one of the tags that the document lists, and has %q", o.Tags)
	}
	fields := make(map[string]any)
	for _, settings := range []map[string]any{d.Tags[i].Route, o.Route} {
		for key, value := range settings {
			if slices.Contains([]string{"method", "path", "access"}, key) {
				return nil, nil, fmt.Errorf("x-route cannot have %s, which follows from the operation", key)
			}
			fields[key] = value
		}
	}
	fields["method"], fields["path"] = method, path
	requirements := d.Security
	if o.Security != nil {
		requirements = *o.Security
	}
	var err error
	if fields["access"], err = access(requirements); err != nil {
		return nil, nil, err
	}
	if fields["body"] == nil && slices.Contains([]string{"POST", "PUT", "PATCH"}, method) {
		fields["body"] = defaultBody
	}
	return fields, d.Tags[i], d.retry(fields, o)
}

// retry adds which calls are sent once more.
func (d *document) retry(fields map[string]any, o operation) error {
	never, given := fields["retry"]
	delete(fields, "retry")
	keyed := slices.ContainsFunc(o.Parameters, func(p parameter) bool {
		if name, shared := strings.CutPrefix(p.Ref, "#/components/parameters/"); shared {
			p = d.Components.Parameters[name]
		}
		return p.In == "header" && p.Name == "Idempotency-Key"
	})
	switch {
	case given && never != "none":
		return fmt.Errorf("retry of x-route can only be none; an Idempotency-Key and a GET are repeated without it")
	case given:
	case keyed:
		fields["retry"] = string(route.RetryKeyed)
	case fields["method"] == "GET" && fields["app"] != route.Gateway:
		fields["retry"] = string(route.RetrySafe)
	}
	return nil
}

// access returns what a caller needs, in the words of the routes. It refuses what these cannot say.
func access(requirements []requirement) (any, error) {
	switch {
	case len(requirements) == 0:
		return route.Public.String(), nil
	case len(requirements) == 2 && len(requirements[0]) == 0 && bearer(requirements[1]) && len(requirements[1]["bearer"]) == 0:
		return route.Optional.String(), nil
	case len(requirements) == 1 && bearer(requirements[0]) && len(requirements[0]["bearer"]) == 0:
		return route.SignedIn.String(), nil
	case len(requirements) == 1 && bearer(requirements[0]):
		return requirements[0]["bearer"], nil
	}
	return nil, fmt.Errorf("security must be [], [{}, { bearer: [] }] or one bearer with its permissions, and is %v", requirements)
}

// bearer reports whether a requirement is of an access token only.
func bearer(r requirement) bool {
	_, ok := r["bearer"]
	return ok && len(r) == 1
}

// keys are those of a route in the order in which they are written. Others follow, for the gateway to refuse.
var keys = []string{"method", "path", "app", "access", "rate", "body", "timeout", "retry", "long", "cache"}

// flow returns a mapping in one line.
func flow(fields map[string]any) (string, error) {
	mapping := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	var others []string
	for key := range fields {
		if !slices.Contains(keys, key) {
			others = append(others, key)
		}
	}
	slices.Sort(others)
	for _, key := range slices.Concat(keys, others) {
		if fields[key] == nil {
			continue
		}
		var value yaml.Node
		if err := value.Encode(fields[key]); err != nil {
			return "", fmt.Errorf("writing %s: %w", key, err)
		}
		mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &value)
	}
	out, err := yaml.Marshal(mapping)
	if err != nil {
		return "", fmt.Errorf("writing a route: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// file returns a file of routes, grouped by tag.
func file(head string, apps []string, tags []*tag) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\napps: [%s]\n\nroutes:\n", head, strings.Join(apps, ", "))
	for i, t := range tags {
		if i > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "  # %s: %s\n", t.Name, t.Description)
		for _, line := range t.lines {
			fmt.Fprintf(&out, "  - %s\n", line)
		}
	}
	return out.Bytes()
}
