package request_test

import (
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"caravan/internal/request"
)

func TestHTMLPagesAreEscapedAndBounded(t *testing.T) {
	page := request.HTMLPage{Template: template.Must(template.New("").Parse(`<style>{{.Style}}</style><p>{{.Page}}</p>`)), Style: "p { color: red; }"}
	answer, err := page.Answer(http.StatusOK, "de", `<script>alert(1)</script>`)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	answer.Write(w)
	if want := `<style>p { color: red; }</style><p>&lt;script&gt;alert(1)&lt;/script&gt;</p>`; w.Body.String() != want {
		t.Errorf("the page is %s", w.Body)
	}
	h := w.Header()
	// printf 'p { color: red; }' | openssl sha256 -binary | base64
	const style = "'sha256-pckGv9YvNcB5xy+Y4fbqhyo+ib850wyiuWeNbZvLi00='"
	if policy := h.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'; style-src "+style+";") || h.Get("Content-Language") != "de" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("the headers are %v", h)
	}
	if _, err := page.Answer(http.StatusOK, "en", strings.Repeat("x", 64<<10)); err == nil {
		t.Error("a page of any size is written")
	}
}

func TestOnlyBrowsersAcceptHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/html": true, "application/xml, text/html;q=0.9": true, "text/htmlx": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		if got := request.AcceptsHTML(r); got != want {
			t.Errorf("%q: %t", accept, got)
		}
	}
}

// FuzzForm: whatever the body is, a form has exactly its fields, or it is refused.
func FuzzForm(f *testing.F) {
	const encoded, parts = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	f.Add(encoded, "a=1&b=2")
	f.Add(encoded, "a=1&a=1&b=%zz")
	f.Add(parts, "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--b--\r\n")
	f.Add(parts, "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\"\r\n\r\n1\r\n--b--")
	f.Add("multipart/form-data", "--")
	f.Fuzz(func(t *testing.T, media, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		form, err := request.Form(r, "a", "b")
		_, a := form["a"]
		_, b := form["b"]
		if err == nil && (len(form) != 2 || !a || !b) {
			t.Errorf("%q %q is read as %v", media, body, form)
		}
	})
}
