package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"caravan/internal/correlation"
)

type missing struct{}

func (missing) Error() string  { return "no document" }
func (missing) NotFound() bool { return true }

type busy bool

func (busy) Error() string     { return "busy" }
func (b busy) Temporary() bool { return bool(b) }

func TestFromDecidesTheStatus(t *testing.T) {
	tests := map[string]struct {
		err    error
		status int
		slug   string
	}{
		"a problem":           {Conflict("key-reused", "x"), 409, "key-reused"},
		"a reused key":        {fmt.Errorf("storing: %w", ReusedKey()), 422, "idempotency-key-reused"},
		"a wrapped problem":   {fmt.Errorf("placing: %w", Forbidden("x")), 403, "forbidden"},
		"nothing there":       {fmt.Errorf("reading: %w", missing{}), 404, "not-found"},
		"busy":                {fmt.Errorf("writing: %w", busy(true)), 503, "try-again"},
		"broken":              {busy(false), 500, "internal"},
		"deadline":            {fmt.Errorf("calling: %w", context.DeadlineExceeded), 503, "deadline-exceeded"},
		"cancelled":           {context.Canceled, 503, "cancelled"},
		"large":               {fmt.Errorf("reading: %w", &http.MaxBytesError{Limit: 9}), 413, "too-large"},
		"anything else":       {errors.New("the password is hunter2"), 500, "internal"},
		"the end of the file": {io.EOF, 500, "internal"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := From(test.err)
			if p.Status != test.status || p.Slug() != test.slug || strings.Contains(p.Error(), "hunter2") {
				t.Errorf("it is %v", p)
			}
			if p.Status == 503 && p.RetryAfter <= 0 {
				t.Error("it does not say when to try again")
			}
		})
	}
	if From(nil) != nil {
		t.Error("no error is a problem")
	}
}

func TestAProblemSurvivesTheWire(t *testing.T) {
	p := Invalid(FieldError{Field: "items[0].quantity", Code: "min", Message: "must be at least 1"})
	p.Detail, p.Instance, p.CorrelationID = "d", "/v1/orders/1", "c"
	p.Extra = map[string]any{"balance": 30.0, "accounts": []any{"a"}, "status": 200, "type": "mine"}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil || members["balance"] != 30.0 || members["status"] != 400.0 || members["type"] != "urn:caravan:problem:invalid-request" {
		t.Errorf("the members are %v, %v", members, err)
	}
	var again Problem
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	p.Extra = map[string]any{"balance": 30.0, "accounts": []any{"a"}}
	if !reflect.DeepEqual(&again, p) {
		t.Errorf("it became %+v", again)
	}
}

func TestWriteSaysWhatAClientNeeds(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(correlation.With(r.Context(), "the-cause"))
	tests := map[string]struct {
		err    error
		header string
		want   string
	}{
		"wait, rounded up": {TooMany(1500 * time.Millisecond), "Retry-After", "2"},
		"challenge":        {Unauthorized("x"), "WWW-Authenticate", `Bearer realm="caravan"`},
		"not cached":       {NotFound("order"), "Cache-Control", "no-store"},
		"media type":       {errors.New("x"), "Content-Type", "application/problem+json"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Write(w, r, test.err)
			if got := w.Header().Get(test.header); got != test.want {
				t.Errorf("%s is %q", test.header, got)
			}
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.CorrelationID != "the-cause" || p.Status != w.Code {
				t.Errorf("the body is %s, %v", w.Body, err)
			}
		})
	}
}

func TestWriteLeavesASharedProblemAlone(t *testing.T) {
	shared := NotFound("order")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	Write(httptest.NewRecorder(), r.WithContext(correlation.With(r.Context(), "one")), shared)
	if shared.CorrelationID != "" {
		t.Errorf("it now belongs to %q", shared.CorrelationID)
	}
}

func TestAnExtensionThatCannotBeWrittenIsStillAnError(t *testing.T) {
	p := Conflict("odd", "x")
	p.Extra = map[string]any{"f": func() {}}
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest(http.MethodGet, "/", nil), p)
	if w.Code != 500 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("the answer is %d %s", w.Code, w.Body)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{"type":"urn:caravan:problem:x","title":"t","status":400,"balance":1}`, `null`, `[]`, `{"status":"x"}`, `{"errors":[{"field":"a"}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Problem
		if json.Unmarshal(data, &p) != nil {
			return
		}
		if _, err := json.Marshal(&p); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
		_ = p.Error()
	})
}
