package request

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/problem"
)

// change has members that are all optional, with omitempty or with omitzero.
type change struct {
	Name  *string           `json:"name,omitzero"`
	Tags  *[]string         `json:"tags,omitzero"`
	Part  string            `json:"part,omitempty"`
	Of    map[string]*line  `json:"of,omitempty"`
	Other map[string]string `json:"other,omitzero"`
}

func TestMembersThatAreOptional(t *testing.T) {
	for body, want := range map[string]string{
		`{"name":"x"}`: "", `{"name":""}`: "", `{"tags":[]}`: "", `{"part":"x"}`: "", `{"other":{}}`: "",
		`{"of":{"a":{"sku":"A","quantity":1}}}`: "",
		`{}`:                                    ":empty",
		`{"name":null}`:                         "name:null",
		`{"tags":[null]}`:                       "tags[0]:null",
		`{"tags":["a",null,null]}`:              "tags[1]:null tags[2]:null",
		`{"part":""}`:                           "part:empty",
		`{"of":{}}`:                             "of:empty",
		`{"of":{"a":null}}`:                     "of.a:null",
		`{"of":{"a":{"sku":"A"}}}`:              "of.a.quantity:required",
		`{"other":{"a":null}}`:                  "other.a:null",
	} {
		r := httptest.NewRequest("PATCH", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		var c change
		if got := said(Decode(r, &c, SomeMember())); got != want {
			t.Errorf("%s: %q; want %q", body, got, want)
		}
	}
}

// said returns the fields and codes of a problem.
func said(err error) string {
	var p *problem.Problem
	if !errors.As(err, &p) {
		return ""
	}
	parts := make([]string, len(p.Errors))
	for i, e := range p.Errors {
		parts[i] = e.Field + ":" + e.Code
	}
	return strings.Join(parts, " ")
}

// The members of an embedded struct are at the same place as those of the outer struct.
func TestMembersOfAnEmbeddedStruct(t *testing.T) {
	type outer struct {
		line
		Note string `json:"note,omitempty"`
	}
	if got := said(Parse([]byte(`{"note":"x"}`), &outer{})); !strings.Contains(got, "sku:required") || !strings.Contains(got, "quantity:required") {
		t.Errorf("it says %q", got)
	}
}

func TestNoBody(t *testing.T) {
	for body, want := range map[string]string{"": "", "{}": "", `{"items":[]}`: "items:unknown", "null": ":null", `{"x":null}`: "x:unknown"} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if got := said(NoBody(r)); got != want {
			t.Errorf("%q: %q; want %q", body, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "1.5s": 1500 * time.Millisecond, "300ms": 300 * time.Millisecond, "1h30m": 90 * time.Minute, "1h30m0s": 90 * time.Minute,
	} {
		if got, ok := Duration(text); !ok || got != want {
			t.Errorf("%s was read as %s, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "0", "5", "-1s", "+1s", ".5s", "5us", "1s ", "s", "9999999999h", "1d"} {
		if got, ok := Duration(text); ok {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

func TestParametersCheck(t *testing.T) {
	pattern, known := SplitPattern("GET /v1/ops/orders?status&waiting=&limit&cursor")
	if pattern != "GET /v1/ops/orders" || len(known) != 4 {
		t.Fatalf("the pattern is %q with %v", pattern, known)
	}
	long := strings.Repeat("x", 100)
	for query, want := range map[string]string{
		"": "", "status=a": "", "waiting": "", "waiting=": "", "waiting=5m&limit=5": "", "st%61tus=a": "", "&status=a&": "", "status=a%3Bb": "",
		"status=a+b%C3%A9":          "",
		"status=a;x":                "status:malformed",
		"status;x=a":                "status:malformed",
		";":                         ":malformed",
		"limit=5;status=a":          "limit:malformed",
		"status=%":                  "status:malformed",
		"status=%zz&limit=5":        "status:malformed",
		"%zz=a":                     "%zz:malformed",
		"status=%ff":                "status:malformed",
		"status=a%00":               "status:malformed",
		"status=a%0A":               "status:malformed",
		"status=a&status=b":         "status:duplicate",
		"status=a&st%61tus=b":       "status:duplicate",
		"status=":                   "status:required",
		"status":                    "status:required",
		"Status=a":                  "Status:unknown",
		"status[]=a":                "status[]:unknown",
		"x=1&y=2":                   "x:unknown y:unknown",
		long + "=1":                 long[:64] + "…:unknown",
		"limit=1&limit=2&x&cursor=": "limit:duplicate x:unknown cursor:required",
	} {
		if got := said(known.Check(query)); got != want {
			t.Errorf("%s: %q; want %q", query, got, want)
		}
	}
	if got := said(Parameters(nil).Check("status=a")); got != "status:unknown" {
		t.Errorf("an operation without parameters says %q", got)
	}
	if pattern, none := SplitPattern("POST /v1/orders"); pattern != "POST /v1/orders" || len(none) != 0 {
		t.Errorf("a pattern without parameters is %q with %v", pattern, none)
	}
}
