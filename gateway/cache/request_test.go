package cache

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeysAreNormal(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/products":                "/v1/products",
		"/v1/products?":               "/v1/products",
		"/v1/products?q=tea":          "/v1/products?q=tea",
		"/v1/products?q=tea&limit=5":  "/v1/products?limit=5&q=tea",
		"/v1/products?limit=5&q=tea":  "/v1/products?limit=5&q=tea",
		"/p?b=2&a=%41&b=1":            "/p?a=%41&b=2&b=1", // parameters of one name keep their order
		"/p?q=2&%71=1":                "/p?q=2&%71=1",     // the same name twice, in two spellings
		"/p?b&a":                      "/p?a&b",
		"/" + strings.Repeat("a", 99): "/" + strings.Repeat("a", 99),
	} {
		if got, ok := Key(target); !ok || got != want {
			t.Errorf("%s: got %q, %v; want %q", target, got, ok, want)
		}
	}
	if key, ok := Key("/v1/products?q=" + strings.Repeat("a", maxKey)); ok {
		t.Errorf("a long target has the key %.40q", key)
	}
}

// Two targets with one key ask for the same.
func FuzzKey(f *testing.F) {
	for _, query := range []string{"", "a=1&b=2", "b=2&a=1", "a=2&a=1", "%61=1&a=2", "a+b=1&a%20b=2", "&&a", "a=1&&", "=1&=2"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		key, ok := Key("/p?" + query)
		if !ok {
			return
		}
		sorted := strings.TrimPrefix(strings.TrimPrefix(key, "/p"), "?")
		want, wantErr := url.ParseQuery(query)
		got, gotErr := url.ParseQuery(sorted)
		if (wantErr == nil) != (gotErr == nil) || wantErr == nil && want.Encode() != got.Encode() {
			t.Errorf("%q: the key %q means %v; want %v", query, key, got, want)
		}
		if again, _ := Key(key); again != key {
			t.Errorf("%q: the key of %q is %q", query, key, again)
		}
	})
}

func TestWhichRequestsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        bool
	}{
		{"Accept", "application/json", false},
		{"Authorization", "Bearer x", true},
		{"Authorization", "", true},
		{"Cookie", "a=b", true},
		{"Cache-Control", "no-cache", true},
		{"Cache-Control", "max-age=0, No-Store", true},
		{"Cache-Control", "max-age=0", false}, // what is served is fresh enough for a reload
		{"Cache-Control", "only-if-cached", false},
		{"Cache-Control", `no-cache="`, true},
		{"If-None-Match", `"x"`, false},
	} {
		if got := Refused(http.Header{c.name: {c.value}}); got != c.want {
			t.Errorf("%s: %s: got %v", c.name, c.value, got)
		}
	}
}

// Matches decides as the standard library does.
func FuzzMatches(f *testing.F) {
	for _, list := range []string{`"a"`, `W/"a"`, `"b", "a"`, `*`, `"b",*`, `"a`, `a`, `,, W/"b" ,"a"`, "\"\x80\"", `"b" "a"`, `W/`, `w/"a"`, ``, ` `} {
		f.Add(list, "a")
	}
	f.Fuzz(func(t *testing.T, list, inner string) {
		tag := `"` + inner + `"`
		if !validTag(tag) || strings.ContainsAny(list, "\r\n\v\f") { // no field can contain these
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["If-None-Match"] = []string{list}
		w := httptest.NewRecorder()
		w.Header().Set("Etag", tag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("x"))
		if want := w.Code == http.StatusNotModified; Matches([]string{list}, tag) != want {
			t.Errorf("%q contains %q: the standard library says %v", list, tag, want)
		}
	})
}

func TestMatchesReadsAllLines(t *testing.T) {
	if !Matches([]string{`"a"`, `"b"`}, `"b"`) || !Matches([]string{`"b"`}, `W/"b"`) || Matches(nil, `"b"`) {
		t.Error("a line, or a weak tag, was not read")
	}
}

func TestParseControl(t *testing.T) {
	second := func(n int) *time.Duration { d := time.Duration(n) * time.Second; return &d }
	for text, want := range map[string]Directives{
		"":                                  {},
		"public, max-age=1":                 {MaxAge: second(1)},
		" , no-store,, Private ":            {NoStore: true, Private: true},
		`private="a, max-age=5",no-cache`:   {Private: true, NoCache: true},
		`max-age="7"`:                       {MaxAge: second(7)},
		"s-maxage=5":                        {SharedMaxAge: second(5), MustRevalidate: true},
		"max-age=99999999999999999999":      {MaxAge: second(maxSeconds)},
		"proxy-revalidate, unknown=a-token": {MustRevalidate: true},
		"stale-if-error=30, stale-while-revalidate=2": {StaleIfError: 30 * time.Second, StaleWhileRevalidate: 2 * time.Second},
	} {
		got, ok := ParseControl([]string{text})
		if !ok || !same(got, want) {
			t.Errorf("%q: got %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=1 2", "max-age=1, max-age=2", "=1", "a b", `a="b`, `a="b"c`, "a==", "stale-if-error", "(", "max-age =1"} {
		if got, ok := ParseControl([]string{text}); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	if got, ok := ParseControl([]string{"max-age=1", "no-store"}); !ok || !got.NoStore || *got.MaxAge != time.Second {
		t.Errorf("two lines are read as %+v, %v", got, ok)
	}
}

func same(a, b Directives) bool {
	equal := func(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }
	return equal(a.MaxAge, b.MaxAge) && equal(a.SharedMaxAge, b.SharedMaxAge) && a.NoStore == b.NoStore && a.NoCache == b.NoCache && a.Private == b.Private &&
		a.MustRevalidate == b.MustRevalidate && a.StaleIfError == b.StaleIfError && a.StaleWhileRevalidate == b.StaleWhileRevalidate
}

// What forbids to keep an answer is found wherever it stands, or the whole field is refused.
func FuzzParseControl(f *testing.F) {
	for _, text := range []string{"public, max-age=1, stale-if-error=30", `private="a,b"`, "no-store", `a="\"", b`, "s-maxage=0", ",,", `"`, "a=b=c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := ParseControl([]string{text})
		if !ok {
			return
		}
		if got.lifetime() < 0 || got.StaleIfError < 0 || got.StaleWhileRevalidate < 0 {
			t.Errorf("%q has a time below zero: %+v", text, got)
		}
		for _, forbidden := range []string{"no-store", "private", "no-cache"} {
			for _, lines := range [][]string{{text, forbidden}, {forbidden, text}, {text + "," + forbidden}, {forbidden + " , " + text}} {
				d, ok := ParseControl(lines)
				if ok && !slices.Contains([]bool{d.NoStore, d.Private, d.NoCache}, true) {
					t.Errorf("%q forbids nothing", lines)
				}
			}
		}
	})
}
