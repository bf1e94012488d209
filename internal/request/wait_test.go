package request

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/problem"
)

func TestHoldOf(t *testing.T) {
	for _, test := range []struct {
		query   string
		prefer  []string
		want    time.Duration
		applied string
		invalid bool
	}{
		{},
		{query: "wait=5s", want: 5 * time.Second},
		{query: "wait=10s", want: 10 * time.Second},
		{query: "wait=0s"},
		{query: "wait=10001ms", invalid: true},
		{query: "wait=-1s", invalid: true},
		{query: "wait=5", invalid: true},
		{query: "wait=11s", prefer: []string{"wait=5"}, invalid: true},
		{query: "wait=1s", prefer: []string{"wait=5"}, want: time.Second},
		{prefer: []string{"wait=5"}, want: 5 * time.Second, applied: "wait=5"},
		{prefer: []string{"wait=0"}, applied: "wait=0"},
		{prefer: []string{"wait=600"}, want: 10 * time.Second, applied: "wait=10"},
		{prefer: []string{`respond-async, WAIT = "5" ; x=y`}, want: 5 * time.Second, applied: "wait=5"},
		{prefer: []string{"return=minimal", "wait=5, wait=7"}, want: 5 * time.Second, applied: "wait=5"},
		{prefer: []string{`x="a, wait=5"`}},
		{prefer: []string{`x="a\", wait=5"`}},
		{prefer: []string{"await=5"}},
		{prefer: []string{"wait"}},
		{prefer: []string{"wait=-5"}},
		{prefer: []string{"wait=1.5"}},
		{prefer: []string{"wait=99999999999999999999"}},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?"+test.query, nil)
		r.Header["Prefer"] = test.prefer
		hold, err := HoldOf(r, 10*time.Second)
		if test.invalid {
			if p := problem.From(err); err == nil || p.Status != 400 || p.Errors[0].Field != "wait" || !strings.Contains(p.Errors[0].Message, "10s") {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		answer := httptest.NewRecorder()
		hold.Confirm(NoContent()).Write(answer)
		if applied := answer.Header().Get("Preference-Applied"); err != nil || hold.For != test.want || applied != test.applied {
			t.Errorf("%+v: got %s, %q, %v", test, hold.For, applied, err)
		}
	}
}

func FuzzPreferredWait(f *testing.F) {
	for _, seed := range []string{"wait=5", `x="a, wait=5", wait=7`, `wait="5`, `"`, ",,=;", `a="\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		wait, ok := PreferredWait(http.Header{"Prefer": {line}}, time.Minute)
		if wait < 0 || wait > time.Minute || wait > 0 && !ok {
			t.Errorf("%q: %s, %v", line, wait, ok)
		}
		if ok && !strings.Contains(strings.ToLower(line), "wait") {
			t.Errorf("%q has a wait of %s", line, wait)
		}
	})
}
