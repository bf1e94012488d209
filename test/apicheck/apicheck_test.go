package apicheck

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const document = `{
  "openapi": "3.1.0",
  "info": {"title": "shop", "version": "1"},
  "paths": {
    "/things/{id}": {
      "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
      "get": {"responses": {
        "200": {"description": "one", "headers": {"X-Id": {"required": true, "schema": {"type": "string"}}},
          "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
        "default": {"description": "problem", "content": {"application/problem+json": {"schema": {"type": "object", "required": ["type"]}}}}}},
      "delete": {"responses": {"204": {"description": "gone"}}}
    },
    "/things/own": {"get": {"responses": {"204": {"description": "nothing"}}}},
    "/things": {"post": {
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
      "responses": {"201": {"description": "made", "content": {"application/json": {"schema": true}}}}}}
  },
  "components": {"schemas": {"Thing": {"type": "object", "required": ["n"], "additionalProperties": false,
    "properties": {"n": {"type": ["integer", "null"], "exclusiveMinimum": 0}, "kind": {"const": "thing"}}}}}
}`

func TestTransport(t *testing.T) {
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		contentType, answer      string
		noID                     bool
		want                     string // part of the report, "" for none
	}{
		{name: "right", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":1,"kind":"thing"}`},
		{name: "null where 3.1 allows it", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":null}`},
		{name: "a missing member", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{}`, want: "missing"},
		{name: "a wrong type", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":"1"}`, want: "is not what"},
		{name: "a bound of JSON Schema 2020-12", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":0}`, want: "is not what"},
		{name: "a wrong constant", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":1,"kind":"other"}`, want: "is not what"},
		{name: "an unknown member", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":1,"x":1}`, want: "is not what"},
		{name: "another media type", method: "GET", path: "/things/1", status: 200, contentType: "text/plain", answer: `{"n":1}`, want: "text/plain"},
		{name: "a missing header", method: "GET", path: "/things/1", status: 200, contentType: "application/json", answer: `{"n":1}`, noID: true, want: "X-Id"},
		{name: "a problem", method: "GET", path: "/things/1", status: 404, contentType: "application/problem+json", answer: `{"type":"urn:x"}`},
		{name: "half a problem", method: "GET", path: "/things/1", status: 404, contentType: "application/problem+json", answer: `{}`, want: "is not what"},
		{name: "a status nobody knows of", method: "DELETE", path: "/things/1", status: 200, want: "status is not supported"},
		{name: "literal before parameter", method: "GET", path: "/things/own", status: 204},
		{name: "an accepted request that is forbidden", method: "POST", path: "/things", body: `{"n":-1}`, status: 201, contentType: "application/json", answer: `{}`, want: "the document forbids"},
		{name: "an accepted request", method: "POST", path: "/things", body: `{"n":1}`, status: 201, contentType: "application/json", answer: `{}`},
		{name: "a path nobody knows of", method: "GET", path: "/other", status: 200, want: "no such operation"},
		{name: "a path that is refused", method: "GET", path: "/other", status: 404, contentType: "application/problem+json", answer: `{}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc, err := Parse(context.Background(), []byte(document))
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if !test.noID {
					w.Header().Set("X-Id", "1")
				}
				w.Header().Set("Content-Type", test.contentType)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.answer)
			}))
			defer server.Close()
			var reports []string
			client := &http.Client{Transport: &Transport{Next: http.DefaultTransport, Document: doc, Report: func(err error) {
				reports = append(reports, err.Error())
			}}}
			request, err := http.NewRequest(test.method, server.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if answer, err := io.ReadAll(response.Body); err != nil || string(answer) != test.answer {
				t.Fatalf("the answer came through as %q, %v", answer, err)
			}
			switch report := strings.Join(reports, "\n"); {
			case test.want == "" && report != "":
				t.Errorf("reported %s", report)
			case !strings.Contains(report, test.want):
				t.Errorf("reported %q; want %q", report, test.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, raw := range map[string]string{
		"OpenAPI 3.0":         strings.Replace(document, "3.1.0", "3.0.3", 1),
		"an unresolved $ref":  strings.Replace(document, "schemas/Thing", "schemas/Thong", 1),
		"an unused parameter": strings.Replace(document, `"name": "id"`, `"name": "di"`, 1),
		"no JSON":             "{",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(context.Background(), []byte(raw)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestUnanswered(t *testing.T) {
	doc, err := Parse(context.Background(), []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{"/things/own": http.StatusNoContent, "/things/1": http.StatusNotFound} {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		response := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/problem+json"}}}
		if err := doc.Check(context.Background(), request, nil, response, []byte(`{"type":"urn:x"}`)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"DELETE /things/{id}", "GET /things/{id}", "POST /things"}
	if got := doc.Unanswered(); !slices.Equal(got, want) {
		t.Errorf("unanswered are %v, want %v", got, want)
	}
}

const taking = `{
  "openapi": "3.1.0",
  "info": {"title": "shop", "version": "1"},
  "paths": {
    "/things": {"post": {"operationId": "make", "security": [{"bearer": ["things:write"]}],
      "parameters": [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2}}],
      "requestBody": {"required": true, "content": {"application/json": {EXAMPLE
        "schema": {"type": "object", "required": ["n"], "additionalProperties": false, "properties": {
          "n": {"type": "integer", "minimum": 1, "maximum": 9},
          "tags": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]+$"}}}}}}},
      "responses": {"204": {"description": "made"}}}}
  },
  "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
}`

func TestOperations(t *testing.T) {
	doc, err := Parse(t.Context(), []byte(strings.Replace(taking, "EXAMPLE", `"example": {"n": 5, "tags": ["ab"]},`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	operations, err := doc.Operations()
	if err != nil || len(operations) != 1 {
		t.Fatalf("got %+v, %v", operations, err)
	}
	made := operations[0]
	if made.ID != "make" || !made.SignedIn || made.Optional || made.Key != "optional" || made.Permissions[0] != "things:write" {
		t.Errorf("got %+v", made)
	}
	if len(made.Query) != 1 || made.Query[0].Right != "2" || !slices.Contains(made.Query[0].Wrong, "0") || !slices.Contains(made.Query[0].Wrong, "6") {
		t.Errorf("the parameters are %+v", made.Query)
	}
	bodies := make(map[string]string)
	for _, wrong := range made.Wrong {
		bodies[wrong.Field+": "+wrong.Name] = string(wrong.Body)
	}
	for name, body := range map[string]string{
		": null": `null`, "n: null": `{"n":null,"tags":["ab"]}`, "tags[0]: null": `{"n":5,"tags":[null]}`, "n: missing": `{"tags":["ab"]}`,
		"n: member twice": `{"n":5,"tags":["ab"],"n":5}`, "unexpected: unknown member": `{"n":5,"tags":["ab"],"unexpected":1}`,
		"n: too small": `{"n":0,"tags":["ab"]}`, "n: too large": `{"n":10,"tags":["ab"]}`, "n: string for integer": `{"n":"x","tags":["ab"]}`,
		"tags: too few": `{"n":5,"tags":[]}`, "tags: too many": `{"n":5,"tags":["ab","ab","ab"]}`, "tags[0]: too short": `{"n":5,"tags":[""]}`,
		"tags[0]: too long": `{"n":5,"tags":["abaa"]}`, `tags[0]: not of the pattern: "X"`: `{"n":5,"tags":["X"]}`,
	} {
		if bodies[name] != body {
			t.Errorf("%s is %q; want %q", name, bodies[name], body)
		}
	}
}

// An operation without an example, or with an incomplete one, would not be tested.
func TestOperationsWithoutAnExample(t *testing.T) {
	for example, want := range map[string]string{``: "no example", `"example": {"n": 5},`: "lacks tags", `"example": {"n": 5, "tags": []},`: "nothing in"} {
		doc, err := Parse(t.Context(), []byte(strings.Replace(taking, "EXAMPLE", example, 1)))
		if err != nil { // the document itself does not allow such an example
			continue
		}
		if _, err := doc.Operations(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", example, err)
		}
	}
}
