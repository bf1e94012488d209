// Package spec publishes the description of the public API.
package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"

	"caravan/gateway/cache"
)

// private is the beginning of the names of members that are not published: what is merged elsewhere, and what is for the
// gateway only.
const private = "x-"

// Document is the OpenAPI document in the form in which it is served.
type Document struct {
	JSON []byte
	etag string
}

// Load converts the YAML source of the document into JSON.
func Load(source []byte) (*Document, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(source, &tree); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	hide(tree)
	if version, _ := tree["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		return nil, fmt.Errorf("reading the OpenAPI document: version %q is not 3.1", version)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document as JSON: %w", err)
	}
	digest := sha256.Sum256(out.Bytes())
	return &Document{JSON: out.Bytes(), etag: `"` + hex.EncodeToString(digest[:8]) + `"`}, nil
}

// hide removes the private members from a value.
func hide(value any) {
	switch v := value.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(name string, _ any) bool { return strings.HasPrefix(name, private) })
		for _, member := range v {
			hide(member)
		}
	case []any:
		for _, item := range v {
			hide(item)
		}
	}
}

// Serve answers GET /openapi.json.
func (d *Document) Serve(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("ETag", d.etag)
	header.Set("Cache-Control", "public, max-age=300")
	if cache.Matches(r.Header["If-None-Match"], d.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", "application/json")
	_, _ = w.Write(d.JSON) // the client has left and cannot get an error
	return nil
}
