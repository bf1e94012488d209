// Package manifest reads Dapr's declarative files more strictly than daprd does. daprd ignores an unknown key, and the
// defaults of many components lose data. So a misspelt setting becomes a lost message months later.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Metadata is a resource's name. Namespaces are not used here.
type Metadata struct {
	Name string `yaml:"name"`
}

// Header is the beginning of every Dapr resource.
type Header struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   Metadata `yaml:"metadata"`
}

// Component is dapr.io/v1alpha1 Component, with the fields this project uses.
type Component struct {
	Header `yaml:",inline"`
	Spec   ComponentSpec `yaml:"spec"`
	Auth   *struct {
		SecretStore string `yaml:"secretStore"`
	} `yaml:"auth,omitempty"`
	Scopes []string `yaml:"scopes,omitempty"`
}

// ComponentSpec is a component's type and settings.
type ComponentSpec struct {
	Type         string `yaml:"type"`
	Version      string `yaml:"version"`
	IgnoreErrors bool   `yaml:"ignoreErrors,omitempty"`
	InitTimeout  string `yaml:"initTimeout,omitempty"`
	Metadata     []Item `yaml:"metadata"`
}

// Item is one setting of a component: a literal value, or a reference to it.
type Item struct {
	Name         string `yaml:"name"`
	Value        string `yaml:"value"`
	EnvRef       string `yaml:"envRef,omitempty"`
	SecretKeyRef *struct {
		Name string `yaml:"name"`
		Key  string `yaml:"key"`
	} `yaml:"secretKeyRef,omitempty"`
}

// Value returns a setting's literal value and whether it is set.
func (c *Component) Value(name string) (string, bool) {
	for _, item := range c.Spec.Metadata {
		if item.Name == name {
			return item.Value, true
		}
	}
	return "", false
}

// Set sets the literal value of a setting.
func (c *Component) Set(name, value string) {
	for i, item := range c.Spec.Metadata {
		if item.Name == name {
			c.Spec.Metadata[i] = Item{Name: name, Value: value}
			return
		}
	}
	c.Spec.Metadata = append(c.Spec.Metadata, Item{Name: name, Value: value})
}

// Subscription is dapr.io/v2alpha1 Subscription.
type Subscription struct {
	Header `yaml:",inline"`
	Spec   struct {
		Pubsub string `yaml:"pubsubname"`
		Topic  string `yaml:"topic"`
		Routes struct {
			Default string `yaml:"default"`
		} `yaml:"routes"`
		DeadLetterTopic string            `yaml:"deadLetterTopic,omitempty"`
		Metadata        map[string]string `yaml:"metadata,omitempty"`
	} `yaml:"spec"`
	Scopes []string `yaml:"scopes,omitempty"`
}

// Configuration is dapr.io/v1alpha1 Configuration.
type Configuration struct {
	Header `yaml:",inline"`
	Spec   struct {
		Tracing struct {
			SamplingRate string `yaml:"samplingRate"`
			Otel         *struct {
				EndpointAddress string `yaml:"endpointAddress"`
				IsSecure        bool   `yaml:"isSecure"`
				Protocol        string `yaml:"protocol"`
			} `yaml:"otel,omitempty"`
		} `yaml:"tracing"`
		Metrics *struct {
			Enabled bool `yaml:"enabled"`
			HTTP    *struct {
				IncreasedCardinality bool `yaml:"increasedCardinality"`
			} `yaml:"http,omitempty"`
		} `yaml:"metrics,omitempty"`
		NameResolution *struct {
			Component     string            `yaml:"component"`
			Version       string            `yaml:"version"`
			Configuration map[string]string `yaml:"configuration"`
		} `yaml:"nameResolution,omitempty"`
		API *struct {
			Denied []APIRule `yaml:"denied,omitempty"`
		} `yaml:"api,omitempty"`
		AccessControl *struct {
			DefaultAction string `yaml:"defaultAction"`
			TrustDomain   string `yaml:"trustDomain,omitempty"`
			Policies      []struct {
				AppID         string `yaml:"appId"`
				DefaultAction string `yaml:"defaultAction"`
				TrustDomain   string `yaml:"trustDomain,omitempty"`
				Namespace     string `yaml:"namespace,omitempty"`
				Operations    []struct {
					Name     string   `yaml:"name"`
					HTTPVerb []string `yaml:"httpVerb"`
					Action   string   `yaml:"action"`
				} `yaml:"operations,omitempty"`
			} `yaml:"policies,omitempty"`
		} `yaml:"accessControl,omitempty"`
	} `yaml:"spec"`
}

// APIRule names one of the sidecar's APIs.
type APIRule struct {
	Name     string `yaml:"name"`
	Version  string `yaml:"version"`
	Protocol string `yaml:"protocol"`
}

// Resiliency is dapr.io/v1alpha1 Resiliency.
type Resiliency struct {
	Header `yaml:",inline"`
	Spec   struct {
		Policies struct {
			Timeouts        map[string]string         `yaml:"timeouts,omitempty"`
			Retries         map[string]Retry          `yaml:"retries,omitempty"`
			CircuitBreakers map[string]CircuitBreaker `yaml:"circuitBreakers,omitempty"`
		} `yaml:"policies"`
		Targets struct {
			Apps       map[string]Policy `yaml:"apps,omitempty"`
			Components map[string]struct {
				Inbound  Policy `yaml:"inbound,omitempty"`
				Outbound Policy `yaml:"outbound,omitempty"`
			} `yaml:"components,omitempty"`
		} `yaml:"targets"`
	} `yaml:"spec"`
	Scopes []string `yaml:"scopes,omitempty"`
}

// Retry is a named retry policy.
type Retry struct {
	Policy      string `yaml:"policy"`
	Duration    string `yaml:"duration,omitempty"`
	MaxInterval string `yaml:"maxInterval,omitempty"`
	MaxRetries  *int   `yaml:"maxRetries,omitempty"`
	Matching    *struct {
		HTTPStatusCodes string `yaml:"httpStatusCodes,omitempty"`
		GRPCStatusCodes string `yaml:"gRPCStatusCodes,omitempty"`
	} `yaml:"matching,omitempty"`
}

// CircuitBreaker is a named breaker policy.
type CircuitBreaker struct {
	MaxRequests int    `yaml:"maxRequests,omitempty"`
	Interval    string `yaml:"interval,omitempty"`
	Timeout     string `yaml:"timeout,omitempty"`
	Trip        string `yaml:"trip,omitempty"`
}

// Policy names the policies of one target.
type Policy struct {
	Timeout        string `yaml:"timeout,omitempty"`
	Retry          string `yaml:"retry,omitempty"`
	CircuitBreaker string `yaml:"circuitBreaker,omitempty"`
}

// Document is one YAML document of a file: exactly one of the pointers is set.
type Document struct {
	File  string // as given to Read
	Index int    // position in the file, from 0
	Header

	Component     *Component
	Subscription  *Subscription
	Configuration *Configuration
	Resiliency    *Resiliency
	resource      any // that pointer
}

// At is the place of the document, for messages.
func (d Document) At() string {
	return fmt.Sprintf("%s: %s %s", d.File, d.Kind, d.Metadata.Name)
}

// Scopes are the apps that the resource is for. If there are none, it is for all.
func (d Document) Scopes() []string {
	switch {
	case d.Component != nil:
		return d.Component.Scopes
	case d.Subscription != nil:
		return d.Subscription.Scopes
	case d.Resiliency != nil:
		return d.Resiliency.Scopes
	}
	return nil
}

// For reports whether the app is in the resource's scope.
func (d Document) For(app string) bool {
	return len(d.Scopes()) == 0 || slices.Contains(d.Scopes(), app)
}

// Read decodes every Dapr resource of a file. A document of another kind, or with a key that its kind does not have, is
// an error with file and line.
func Read(file string) ([]Document, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a Dapr resource: %w", err)
	}
	documents, err := Decode(file, raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return documents, nil
}

// Decode is Read of a file's content.
func Decode(file string, raw []byte) ([]Document, error) {
	var documents []Document
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	for index := 0; ; index++ {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not YAML: %w", err)
		}
		document, err := decodeDocument(&node)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", index+1, err)
		}
		document.File, document.Index = file, index
		documents = append(documents, document)
	}
	if len(documents) == 0 {
		return nil, errors.New("holds no document")
	}
	return documents, nil
}

func decodeDocument(node *yaml.Node) (Document, error) {
	var d Document
	if err := node.Decode(&d.Header); err != nil {
		return d, fmt.Errorf("no resource header: %w", err)
	}
	version := "dapr.io/v1alpha1"
	switch d.Kind {
	case "Component":
		d.Component = &Component{}
		d.resource = d.Component
	case "Configuration":
		d.Configuration = &Configuration{}
		d.resource = d.Configuration
	case "Resiliency":
		d.Resiliency = &Resiliency{}
		d.resource = d.Resiliency
	case "Subscription":
		version = "dapr.io/v2alpha1"
		d.Subscription = &Subscription{}
		d.resource = d.Subscription
	default:
		return d, fmt.Errorf("kind %q is none this project uses", d.Kind)
	}
	if d.APIVersion != version {
		return d, fmt.Errorf("apiVersion of a %s is %q, want %q", d.Kind, d.APIVersion, version)
	}
	if d.Metadata.Name == "" {
		return d, fmt.Errorf("a %s without a name", d.Kind)
	}
	if err := DecodeStrict(node, d.resource); err != nil {
		return d, fmt.Errorf("%s %s: %w", d.Kind, d.Metadata.Name, err)
	}
	return d, nil
}

// DecodeStrict decodes a YAML node and refuses keys its target does not have.
func DecodeStrict(node *yaml.Node, target any) error {
	raw, err := yaml.Marshal(node)
	if err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(target); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// kustomization is a file for Kubernetes. daprd skips it because of its kind.
const kustomization = "kustomization.yaml"

// ReadFolder reads the resources of a folder as daprd would: its YAML files in order, without sub-folders.
func ReadFolder(folder string) ([]Document, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("reading resources: %w", err)
	}
	var documents []Document
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if entry.IsDir() || (extension != ".yaml" && extension != ".yml") || entry.Name() == kustomization {
			continue
		}
		read, err := Read(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		documents = append(documents, read...)
	}
	return documents, nil
}

// ReadSet reads a component set for an app: the folder of the set, and in it the folder with the app's name, if the app
// has components of its own.
func ReadSet(folder, app string) ([]Document, error) {
	documents, err := ReadFolder(folder)
	if err != nil {
		return nil, err
	}
	own := filepath.Join(folder, app)
	if _, err := os.Stat(own); err != nil {
		return documents, nil
	}
	more, err := ReadFolder(own)
	return append(documents, more...), err
}

// Write writes each document into a file named by kind and name. Only the owner can read the files, because connection
// strings contain passwords.
func Write(folder string, documents []Document) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("writing resources: %w", err)
	}
	for _, d := range documents {
		raw, err := yaml.Marshal(d.resource)
		if err != nil {
			return fmt.Errorf("writing %s: %w", d.At(), err)
		}
		name := strings.ToLower(d.Kind) + "-" + d.Metadata.Name + ".yaml"
		if err := os.WriteFile(filepath.Join(folder, name), raw, 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", d.At(), err)
		}
	}
	return nil
}
