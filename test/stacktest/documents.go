package stacktest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Documents is the state of one service, through its sidecar. Tests damage it.
type Documents struct {
	T       *testing.T
	Address string // URL of the sidecar
	Token   string // that the sidecar asks for
}

// Read returns a document and its ETag.
func (d Documents) Read(key string) (document []byte, etag string) {
	d.T.Helper()
	raw, header := d.call(http.MethodGet, "/"+url.PathEscape(key), nil)
	return raw, header.Get("ETag")
}

// Change rewrites a document without its service.
func (d Documents) Change(key string, edit func(document map[string]any)) {
	d.T.Helper()
	raw, etag := d.Read(key)
	document := make(map[string]any)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // amounts may be integers that a float cannot represent
	if err := decoder.Decode(&document); err != nil {
		d.T.Fatalf("document %s is %q: %v", key, raw, err)
	}
	edit(document)
	body, err := json.Marshal([]map[string]any{{
		"key": key, "value": document, "etag": etag, "options": map[string]string{"concurrency": "first-write"},
	}})
	if err != nil {
		d.T.Fatal(err)
	}
	d.call(http.MethodPost, "", body)
}

// Remove deletes a document.
func (d Documents) Remove(key string) {
	d.T.Helper()
	d.call(http.MethodDelete, "/"+url.PathEscape(key), nil)
}

func (d Documents) call(method, path string, body []byte) ([]byte, http.Header) {
	d.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := d.Address + "/v1.0/state/store" + path
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		d.T.Fatal(err)
	}
	request.Header.Set("dapr-api-token", d.Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		d.T.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		d.T.Fatalf("%s %s answers %s: %s, %v", method, address, response.Status, raw, err)
	}
	return raw, response.Header
}
