package spec

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"caravan/gateway/route"
)

func shipped(t *testing.T) (*Document, *openapi3.T) {
	t.Helper()
	source, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document, err := Load(source)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := openapi3.NewLoader().LoadFromData(document.JSON)
	if err != nil {
		t.Fatal(err)
	}
	return document, parsed
}

func TestShippedDocumentIsValidOpenAPI31(t *testing.T) {
	_, parsed := shipped(t)
	if !strings.HasPrefix(parsed.OpenAPI, "3.1.") {
		t.Errorf("version %s", parsed.OpenAPI)
	}
	if err := parsed.Validate(context.Background()); err != nil {
		t.Error(err)
	}
	if parsed.Extensions[shared] != nil {
		t.Error("the shared parts are published")
	}
}

// routes.yaml and the document name the same operations, with the same parameters and the same access.
func TestRoutesAndDocumentAgree(t *testing.T) {
	source, err := os.ReadFile("../routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.Parse(source, route.Known{})
	if err != nil {
		t.Fatal(err)
	}
	_, parsed := shipped(t)
	described := make(map[string]bool)
	for path, item := range parsed.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	for _, r := range table.Routes() {
		if !described[r.Name] {
			t.Errorf("%s is not described", r.Name)
			continue
		}
		delete(described, r.Name)
		item := parsed.Paths.Value(r.Pattern)
		checkOperation(t, parsed, r, item, item.GetOperation(r.Method))
	}
	for name := range described {
		t.Errorf("%s is described and not routed", name)
	}
}

func checkOperation(t *testing.T, parsed *openapi3.T, r *route.Route, item *openapi3.PathItem, operation *openapi3.Operation) {
	t.Helper()
	if got, want := security(parsed, operation), access(r.Access); got != want {
		t.Errorf("%s: the document asks for %s, the route for %s", r.Name, got, want)
	}
	var params []string
	keyed := false
	for _, p := range append(slices.Clone(item.Parameters), operation.Parameters...) {
		keyed = keyed || p.Value.In == openapi3.ParameterInHeader && p.Value.Name == "Idempotency-Key"
		if p.Value.In == openapi3.ParameterInPath {
			params = append(params, p.Value.Name)
		}
		if r.Long != nil && p.Value.Name == r.Long.Parameter && p.Value.In != openapi3.ParameterInQuery {
			t.Errorf("%s: %s is not a query parameter", r.Name, p.Value.Name)
		}
	}
	if !slices.Equal(params, r.Params()) {
		t.Errorf("%s: the document has parameters %q, the route %q", r.Name, params, r.Params())
	}
	if keyed != (r.Retry == route.RetryKeyed) {
		t.Errorf("%s: the document has an Idempotency-Key: %t; the route repeats by it: %t", r.Name, keyed, !keyed)
	}
	if operation.RequestBody != nil && r.Body == 0 {
		t.Errorf("%s: the document describes a body that the route does not take", r.Name)
	}
	statuses := operation.Responses.Map()
	needed := map[string]bool{
		"400": r.App != route.Gateway, "429": r.Rate != route.Unlimited, "503": r.App != route.Gateway,
		"401": r.Access.Kind != route.Public, "403": r.Access.Kind == route.Permitted, "413": r.Body > 0, "404": len(r.Params()) > 0,
	}
	for status, need := range needed {
		if need && statuses[status] == nil {
			t.Errorf("%s: the document has no answer %s", r.Name, status)
		}
	}
	if statuses["304"] == nil && strings.Contains(r.Name, "openapi") {
		t.Errorf("%s: no 304", r.Name)
	}
}

func security(parsed *openapi3.T, operation *openapi3.Operation) string {
	requirements := parsed.Security
	if operation.Security != nil {
		requirements = *operation.Security
	}
	if len(requirements) == 0 {
		return "public"
	}
	if len(requirements) == 2 && len(requirements[0]) == 0 {
		return "optional"
	}
	names := slices.Sorted(slices.Values(requirements[0]["bearer"]))
	return "bearer " + strings.Join(names, " ")
}

func access(a route.Access) string {
	if a.Kind == route.Public || a.Kind == route.Optional {
		return a.Kind.String()
	}
	return "bearer " + strings.Join(slices.Sorted(slices.Values(a.Permissions)), " ")
}

// The schemas of answers take what they describe and nothing else: a member nobody described is a leak.
func TestAnswersAreClosed(t *testing.T) {
	_, parsed := shipped(t)
	const (
		product = `"sku":"TEA-1","name":"Tea","description":"","category":"tea","status":"active","price":{"amount":1,"currency":"EUR"},"available":3,"version":1`
		order   = `"id":"o1","status":"placed","lines":[{"sku":"TEA-1","quantity":1}],"placedAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z"`
		staff   = `,"onHand":3,"reserved":0,"schedule":[],"createdAt":"2026-01-02T03:04:05Z","changedAt":"2026-01-02T03:04:05Z"`
		moments = `,"timeline":[{"type":"placed","time":"2026-01-02T03:04:05Z","sequence":1}]`
	)
	for _, tc := range []struct {
		schema, value string
		fits          bool
	}{
		{"Product", "{" + product + "}", true}, {"Product", "{" + product + staff + "}", false}, {"Product", `{"sku":"TEA-1"}`, false},
		{"StaffProduct", "{" + product + staff + "}", true}, {"StaffProduct", "{" + product + "}", false}, {"StaffProduct", "{" + product + staff + `,"cost":1}`, false},
		{"OrderSummary", "{" + order + "}", true}, {"OrderSummary", "{" + order + moments + "}", false}, {"Order", "{" + order + moments + "}", true},
		{"Order", "{" + order + "}", false}, {"Order", "{" + order + moments + `,"fingerprint":"x"}`, false},
		{"Money", `{"amount":1,"currency":"EUR"}`, true}, {"Money", `{"amount":1.5,"currency":"EUR"}`, false}, {"Money", `{"amount":1,"currency":"eur"}`, false},
		{"User", `{"id":"u","email":"a@b","name":"A","roles":["customer"],"createdAt":"2026-01-02T03:04:05Z"}`, true},
		{"User", `{"id":"u","email":"a@b","name":"A","roles":["customer"],"createdAt":"2026-01-02T03:04:05Z","passwordHash":"x"}`, false},
		{"KeySet", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AA","alg":"EdDSA","use":"sig"}]}`, true}, {"KeySet", `{"keys":[{"kty":"OKP","kid":"k","d":"AA"}]}`, false},
		{"Problem", `{"type":"urn:caravan:problem:x","title":"X","status":400,"correlationId":"c","balance":1}`, true},
		{"Problem", `{"type":"about:blank","title":"X","status":400,"correlationId":"c"}`, false},
	} {
		var value any
		if err := json.Unmarshal([]byte(tc.value), &value); err != nil {
			t.Fatal(err)
		}
		err := parsed.Components.Schemas[tc.schema].Value.VisitJSON(value, openapi3.EnableJSONSchema2020())
		if (err == nil) != tc.fits {
			t.Errorf("%s %s: %v", tc.schema, tc.value, err)
		}
	}
}

func TestServe(t *testing.T) {
	document, _ := shipped(t)
	w := httptest.NewRecorder()
	if err := document.Serve(w, httptest.NewRequest("GET", "/openapi.json", nil)); err != nil || w.Code != 200 || w.Body.Len() < 1000 {
		t.Errorf("got %v, %d", err, w.Code)
	}
	again := httptest.NewRequest("GET", "/openapi.json", nil)
	again.Header.Set("If-None-Match", w.Header().Get("ETag"))
	w = httptest.NewRecorder()
	if err := document.Serve(w, again); err != nil || w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("got %v, %d", err, w.Code)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, source := range []string{"", "a: [", "openapi: 3.0.3", "[]"} {
		if _, err := Load([]byte(source)); err == nil {
			t.Errorf("%q was accepted", source)
		}
	}
}
