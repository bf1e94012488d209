package k8s

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"
)

// The Kubernetes module with the schemas, and its checksum. It is not a dependency of this module, because for one file
// it would need thirty more.
const (
	kubernetes    = "k8s.io/kubernetes@v1.35.4"
	kubernetesSum = "h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM="
)

// schemaFolder contains the schemas while the tests run. kubeconform reads one when it first needs it.
var schemaFolder string

func TestMain(m *testing.M) {
	var err error
	if schemaFolder, err = os.MkdirTemp("", "caravan-schemas-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(schemaFolder)
	os.Exit(status)
}

// schemas validates manifests against the schemas of Kubernetes and Dapr, and refuses unknown keys.
var schemas = sync.OnceValues(func() (validator.Validator, error) {
	if err := writeSchemas(schemaFolder); err != nil {
		return nil, err
	}
	return validator.New([]string{filepath.Join(schemaFolder, "{{ .ResourceKind }}{{ .KindSuffix }}.json")}, validator.Opts{Strict: true, KubernetesVersion: "1.35.4"})
})

// validate returns the faults that the schemas find.
func validate(t testing.TB, manifests []byte) []string {
	t.Helper()
	v, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, result := range v.Validate("manifests", io.NopCloser(bytes.NewReader(manifests))) {
		signature, _ := result.Resource.Signature()
		switch result.Status {
		case validator.Valid, validator.Empty:
		default:
			found = append(found, fmt.Sprintf("%s: %v", signature.QualifiedName(), result.Err))
		}
	}
	return found
}

// writeSchemas writes a JSON schema for each kind, from the modules of Kubernetes and Dapr.
func writeSchemas(folder string) error {
	definitions, kinds, err := kubernetesDefinitions()
	if err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(folder, "definitions.json"), map[string]any{"definitions": definitions}); err != nil {
		return err
	}
	for name, definition := range kinds {
		if err := writeJSON(filepath.Join(folder, name), map[string]any{"$ref": "definitions.json#/definitions/" + definition}); err != nil {
			return err
		}
	}
	custom, err := daprDefinitions()
	if err != nil {
		return err
	}
	for name, schema := range custom {
		if err := writeJSON(filepath.Join(folder, name), schema); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(file string, value any) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

// fileOf returns the path at which kubeconform looks for the schema of a kind.
func fileOf(group, version, kind string) string {
	parts := []string{kind}
	if group != "" {
		first, _, _ := strings.Cut(group, ".")
		parts = append(parts, first)
	}
	return strings.ToLower(strings.Join(append(parts, version), "-")) + ".json"
}

// kubernetesDefinitions reads the OpenAPI document of Kubernetes, and where it defines each kind.
func kubernetesDefinitions() (definitions map[string]any, kinds map[string]string, err error) {
	output, err := exec.Command("go", "mod", "download", "-json", kubernetes).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("downloading the module of Kubernetes: %w: %s", err, output)
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(output, &module); err != nil {
		return nil, nil, err
	}
	if module.Sum != kubernetesSum {
		return nil, nil, fmt.Errorf("the module of Kubernetes has the checksum %s", module.Sum)
	}
	content, err := os.ReadFile(filepath.Join(module.Dir, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		return nil, nil, err
	}
	var document struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(content, &document); err != nil {
		return nil, nil, err
	}
	definitions, kinds = map[string]any{}, map[string]string{}
	for name, definition := range document.Definitions {
		strict(definition)
		definitions[name] = definition
		known, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, entry := range known {
			gvk := entry.(map[string]any)
			kinds[fileOf(gvk["group"].(string), gvk["version"].(string), gvk["kind"].(string))] = name
		}
	}
	return definitions, kinds, nil
}

// daprDefinitions reads the definitions of Dapr's kinds, in the version from which the sidecar is built.
func daprDefinitions() (map[string]any, error) {
	folder, err := daprModule()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(folder, "charts", "dapr", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("the module of Dapr in %q has no definitions (%v)", folder, err)
	}
	schemas := map[string]any{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var definition struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(content, &definition); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, version := range definition.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			strict(schema)
			schema["properties"].(map[string]any)["metadata"] = map[string]any{"$ref": "definitions.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
			schemas[fileOf(definition.Spec.Group, version.Name, definition.Spec.Names.Kind)] = schema
		}
	}
	return schemas, nil
}

// strict makes a schema refuse unknown keys, and gives values that may be numbers or texts both types.
func strict(schema map[string]any) {
	if schema["format"] == "int-or-string" || schema["x-kubernetes-int-or-string"] == true {
		delete(schema, "type")
		delete(schema, "anyOf")
		delete(schema, "format")
		schema["type"] = []any{"string", "integer"}
	}
	properties, _ := schema["properties"].(map[string]any)
	if _, other := schema["additionalProperties"]; properties != nil && !other && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
	for _, property := range properties {
		strict(property.(map[string]any))
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[key].(map[string]any); ok {
			strict(inner)
		}
	}
}
