package request

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"caravan/internal/problem"
)

// An optional body may be absent in every way that HTTP allows. If there is a body, it has to be valid.
func TestDecodeOptional(t *testing.T) {
	type body struct {
		Reason string `json:"reason" validate:"max=5"`
	}
	for name, c := range map[string]struct {
		body        io.Reader
		length      int64
		contentType string
		reason      string
		status      int
	}{
		"no body":            {body: nil, status: 0},
		"no bytes in chunks": {body: strings.NewReader(""), length: -1, status: 0},
		"no bytes as JSON":   {body: strings.NewReader(""), contentType: "application/json"},
		"a body":             {body: strings.NewReader(`{"reason":"why"}`), length: 16, contentType: "application/json", reason: "why"},
		"a body in chunks":   {body: strings.NewReader(`{"reason":"why"}`), length: -1, contentType: "application/json", reason: "why"},
		"of another type":    {body: strings.NewReader(`{"reason":"why"}`), length: -1, contentType: "text/plain", status: 415},
		"against the rules":  {body: strings.NewReader(`{"reason":"too long"}`), length: -1, contentType: "application/json", status: 400},
		"too large":          {body: strings.NewReader(`"` + strings.Repeat("x", 70<<10)), length: -1, contentType: "application/json", status: 413},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", c.body)
		r.ContentLength = c.length
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		var got body
		err := DecodeOptional(r, &got)
		if c.status == 0 && (err != nil || got.Reason != c.reason) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if c.status != 0 && problem.From(err).Status != c.status {
			t.Errorf("%s: %v; want %d", name, err, c.status)
		}
	}
}
