package spec

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
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
	if parsed.Paths.Value("/openapi.json").Get.Responses.Value("304") == nil {
		t.Error("the document does not say that it answers 304 itself")
	}
}

// What is for the gateway only, such as which app answers, is not published.
func TestPrivateMembersAreNotPublished(t *testing.T) {
	source, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	member := regexp.MustCompile(`"?(x-[a-z]+)"?: `)
	if found := member.FindAllStringSubmatch(string(source), -1); len(found) < 20 {
		t.Fatalf("the source has the private members %q, and this test looks for them", found)
	}
	document, parsed := shipped(t)
	if found := regexp.MustCompile(`"x-[^"]*":`).FindAll(document.JSON, -1); found != nil {
		t.Errorf("%q are published", found)
	}
	for _, tag := range parsed.Tags {
		if len(tag.Extensions) > 0 {
			t.Errorf("the tag %s has %v", tag.Name, tag.Extensions)
		}
	}
	for _, item := range parsed.Paths.Map() {
		for _, operation := range item.Operations() {
			if len(operation.Extensions) > 0 {
				t.Errorf("%s has %v", operation.OperationID, operation.Extensions)
			}
		}
	}
}

// The schemas of answers allow only the members that they describe: an undescribed member is a leak.
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
		{"User", `{"id":"u","email":"a@b","emailVerified":false,"name":"A","roles":["customer"],"createdAt":"2026-01-02T03:04:05Z"}`, true},
		{"User", `{"id":"u","email":"a@b","emailVerified":false,"name":"A","roles":["customer"],"createdAt":"2026-01-02T03:04:05Z","passwordHash":"x"}`, false},
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
