package apicheck

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// A documented status that was not seen is missing. An undocumented one is not in the table.
func TestStatusesOfTheDocument(t *testing.T) {
	d, err := Parse(t.Context(), []byte(`{
  "openapi": "3.1.0", "info": {"title": "shop", "version": "1"},
  "paths": {
    "/things": {"get": {"responses": {"200": {"description": "all"}, "401": {"description": "who?"}, "409": {"description": "not now"}}}},
    "/others": {"get": {"responses": {"204": {"description": "none"}}}}
  }}`))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(path string, status int) error {
		return d.Check(t.Context(), httptest.NewRequest("GET", path, nil), nil, &http.Response{StatusCode: status, Header: http.Header{}}, nil)
	}
	for _, status := range []int{200, 401} {
		if err := answer("/things", status); err != nil {
			t.Fatal(err)
		}
	}
	if err := answer("/others", 409); err == nil {
		t.Error("an answer that is not promised is no error")
	}
	table := d.Statuses(401, 404, 409)
	if missing := table.Missing(); !slices.Equal(missing, []string{"GET /things 409"}) {
		t.Errorf("missing are %q", missing)
	}
	if text := strings.Join(strings.Fields(table.String()), " "); text != "operation 401 404 409 GET /others GET /things seen MISSING" {
		t.Errorf("the table is %q", text)
	}
	if unanswered := d.Unanswered(); !slices.Equal(unanswered, []string{"GET /others"}) {
		t.Errorf("unanswered are %q", unanswered)
	}
}
