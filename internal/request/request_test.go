package request

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"caravan/internal/money"
	"caravan/internal/problem"
)

type line struct {
	SKU      string `json:"sku" validate:"required,max=64"`
	Quantity int64  `json:"quantity" validate:"min=1,max=1000"`
}

type order struct {
	Items    []line       `json:"items" validate:"required,min=1,max=3,dive"`
	Expected *money.Money `json:"expectedTotal,omitempty"`
	Note     string       `json:"note,omitempty" validate:"max=10"`
	At       time.Time    `json:"at,omitzero"`
}

const good = `{"items":[{"sku":"A","quantity":2}],"expectedTotal":{"amount":1999,"currency":"EUR"}}`

func decode(body, contentType string, options ...Option) (order, error) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	var o order
	err := Decode(r, &o, options...)
	return o, err
}

func TestDecodeReadsAGoodBody(t *testing.T) {
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		o, err := decode(good, contentType)
		if err != nil || o.Items[0].Quantity != 2 || *o.Expected != money.New(1999, "EUR") {
			t.Errorf("%s: %+v, %v", contentType, o, err)
		}
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	const media = "application/json"
	tests := map[string]struct {
		body, contentType string
		status            int
		field, code       string
	}{
		"no media type":        {good, "", 415, "", ""},
		"no body at all":       {"", "", 400, "", ""},
		"a form":               {"a=b", "application/x-www-form-urlencoded", 415, "", ""},
		"another charset":      {good, "application/json; charset=latin1", 415, "", ""},
		"too large":            {`{"note":"` + strings.Repeat("x", DefaultLimit) + `"}`, media, 413, "", ""},
		"empty":                {"", media, 400, "", ""},
		"cut off":              {good[:20], media, 400, "", ""},
		"two values":           {good + good, media, 400, "", ""},
		"invalid UTF-8":        {"{\"note\":\"\xff\"}", media, 400, "", ""},
		"unknown member":       {`{"items":[{"sku":"A","quantity":1,"price":1}]}`, media, 400, "items[0].price", "unknown"},
		"other case":           {`{"Items":[]}`, media, 400, "Items", "unknown"},
		"repeated member":      {`{"note":"a","note":"b"}`, media, 400, "note", "duplicate"},
		"a string as number":   {`{"items":[{"sku":"A","quantity":"1"}]}`, media, 400, "items[0].quantity", "type"},
		"a fraction":           {`{"items":[{"sku":"A","quantity":1.5}]}`, media, 400, "items[0].quantity", "type"},
		"out of range":         {`{"items":[{"sku":"A","quantity":9223372036854775808}]}`, media, 400, "items[0].quantity", "type"},
		"a number as string":   {`{"note":1}`, media, 400, "note", "type"},
		"an object as array":   {`{"items":{}}`, media, 400, "items", "type"},
		"not an object":        {`[]`, media, 400, "", "type"},
		"not a time":           {`{"items":[{"sku":"A","quantity":1}],"at":"soon"}`, media, 400, "at", "time"},
		"a time beyond 9999":   {`{"items":[{"sku":"A","quantity":1}],"at":"9999-12-31T23:59:59-14:00"}`, media, 400, "at", "time"},
		"no time":              {`{"items":[{"sku":"A","quantity":1}],"at":"0001-01-01T00:00:00Z"}`, media, 400, "at", "time"},
		"a number as time":     {`{"items":[{"sku":"A","quantity":1}],"at":1}`, media, 400, "at", "time"},
		"null for a time":      {`{"items":[{"sku":"A","quantity":1}],"at":null}`, media, 400, "at", "null"},
		"null for a list":      {`{"items":null}`, media, 400, "items", "null"},
		"null in a list":       {`{"items":[null]}`, media, 400, "items[0]", "null"},
		"null for a string":    {`{"items":[{"sku":null,"quantity":1}]}`, media, 400, "items[0].sku", "null"},
		"null for a pointer":   {`{"items":[{"sku":"A","quantity":1}],"expectedTotal":null}`, media, 400, "expectedTotal", "null"},
		"half an amount":       {`{"items":[{"sku":"A","quantity":1}],"expectedTotal":{"currency":"EUR"}}`, media, 400, "expectedTotal.amount", "required"},
		"no currency":          {`{"items":[{"sku":"A","quantity":1}],"expectedTotal":{"amount":1}}`, media, 400, "expectedTotal.currency", "required"},
		"no quantity":          {`{"items":[{"sku":"A"}]}`, media, 400, "items[0].quantity", "required"},
		"a quantity of 0":      {`{"items":[{"sku":"A","quantity":0}]}`, media, 400, "items[0].quantity", "min"},
		"an empty option":      {`{"items":[{"sku":"A","quantity":1}],"note":""}`, media, 400, "note", "empty"},
		"nothing":              {`{}`, media, 400, "items", "required"},
		"null":                 {`null`, media, 400, "", "null"},
		"a rule in an item":    {`{"items":[{"sku":"A","quantity":1},{"sku":"","quantity":0}]}`, media, 400, "items[1].sku", "required"},
		"too many items":       {`{"items":[{"sku":"A","quantity":1},{"sku":"A","quantity":1},{"sku":"A","quantity":1},{"sku":"A","quantity":1}]}`, media, 400, "items", "max"},
		"an unknown currency":  {`{"items":[{"sku":"A","quantity":1}],"expectedTotal":{"amount":1,"currency":"XXX"}}`, media, 400, "expectedTotal.currency", "currency"},
		"a string that is too": {`{"items":[{"sku":"A","quantity":1}],"note":"01234567890"}`, media, 400, "note", "max"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := decode(test.body, test.contentType)
			var p *problem.Problem
			if !errors.As(err, &p) {
				t.Fatalf("the error is %v", err)
			}
			if p.Status != test.status {
				t.Errorf("the status is %d: %v", p.Status, p)
			}
			if test.code == "" {
				return
			}
			if len(p.Errors) == 0 || p.Errors[0].Field != test.field || p.Errors[0].Code != test.code || p.Errors[0].Message == "" {
				t.Errorf("the errors are %+v", p.Errors)
			}
			if strings.Contains(p.Error(), "request.") || strings.Contains(p.Error(), "int64") {
				t.Errorf("it names Go types: %v", p)
			}
		})
	}
}

func TestDecodeNamesEveryBrokenRule(t *testing.T) {
	_, err := decode(`{"items":[{"sku":"","quantity":0}],"note":"01234567890"}`, "application/json")
	var p *problem.Problem
	if !errors.As(err, &p) || len(p.Errors) != 3 {
		t.Errorf("the error is %v", err)
	}
}

func TestTheLimitIsAnOption(t *testing.T) {
	if _, err := decode(good, "application/json", WithLimit(16)); problem.From(err).Status != 413 {
		t.Errorf("the error is %v", err)
	}
	body := `{"items":[{"sku":"A","quantity":1}]}` + strings.Repeat(" ", DefaultLimit)
	if _, err := decode(body, "application/json", WithLimit(2*DefaultLimit)); err != nil {
		t.Errorf("the error is %v", err)
	}
}

func TestABodyWithoutALengthIsBoundedToo(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat(" ", DefaultLimit+1)))
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = -1
	if err := Decode(r, &order{}); problem.From(err).Status != 413 {
		t.Errorf("the error is %v", err)
	}
}

func TestPage(t *testing.T) {
	tests := map[string]struct {
		query  string
		limit  int
		cursor string
		field  string
	}{
		"nothing":         {"", 20, "", ""},
		"both":            {"limit=100&cursor=abc", 100, "abc", ""},
		"the least":       {"limit=1", 1, "", ""},
		"none":            {"limit=0", 0, "", "limit"},
		"too many":        {"limit=101", 0, "", "limit"},
		"negative":        {"limit=-1", 0, "", "limit"},
		"not a number":    {"limit=ten", 0, "", "limit"},
		"a sign":          {"limit=%2B5", 0, "", "limit"},
		"a cursor of ads": {"cursor=" + strings.Repeat("x", 513), 0, "", "cursor"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			limit, cursor, err := Page(httptest.NewRequest(http.MethodGet, "/?"+test.query, nil))
			var p *problem.Problem
			if test.field != "" {
				if !errors.As(err, &p) || p.Status != 400 || p.Errors[0].Field != test.field {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil || limit != test.limit || cursor != test.cursor {
				t.Errorf("got %d, %q, %v", limit, cursor, err)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	long := strings.Repeat("k", MaxIdempotencyKey)
	for value, want := range map[string]string{
		`"8e03978e-40d5-43e8-bc93-6894a57f9324"`: "8e03978e-40d5-43e8-bc93-6894a57f9324",
		`8e03978e-40d5-43e8-bc93-6894a57f9324`:   "8e03978e-40d5-43e8-bc93-6894a57f9324",
		` "a" `:                                  "a",
		`"a\"b\\c"`:                              `a"b\c`,
		`a/b:c=d`:                                "a/b:c=d",
		`"a b"`:                                  "a b",
		`" "`:                                    " ",
		` "a ;, " `:                              "a ;, ",
		long:                                     long,
		`"` + long + `"`:                         long,
	} {
		if got, err := keyOf(value); err != nil || got != want {
			t.Errorf("%q was read as %q, %v", value, got, err)
		}
	}
	for name, values := range map[string][]string{
		"missing": nil, "empty": {""}, "empty string": {`""`}, "spaces": {"   "}, "two": {"a", "b"}, "open": {`"a`}, "only a quote": {`"`},
		"quote inside": {`"a"b"`}, "bad escape": {`"a\b"`}, "escaped end": {`"a\"`}, "bare space": {"a b"},
		"parameter": {`"a";x=1`}, "list": {"a, b"}, "not ASCII": {"ä"}, "control": {"a\x01"}, "too long": {long + "k"}, "too long, quoted": {`"` + long + `k"`},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := keyOf(values...)
			var p *problem.Problem
			if !errors.As(err, &p) || p.Status != 400 || p.Errors[0].Field != "Idempotency-Key" {
				t.Errorf("it was read as %q, %v", key, err)
			}
		})
	}
}

func TestOptionalIdempotencyKey(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if key, err := OptionalIdempotencyKey(r); key != "" || err != nil {
		t.Errorf("no key was read as %q, %v", key, err)
	}
	r.Header.Set(IdempotencyHeader, "")
	if key, err := OptionalIdempotencyKey(r); err == nil {
		t.Errorf("an empty key was read as %q", key)
	}
	r.Header.Set(IdempotencyHeader, `"a b"`)
	if key, err := OptionalIdempotencyKey(r); key != "a b" || err != nil {
		t.Errorf("a key was read as %q, %v", key, err)
	}
}

func keyOf(values ...string) (string, error) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header["Idempotency-Key"] = values
	return IdempotencyKey(r)
}

func TestFingerprintIsOfTheMeaning(t *testing.T) {
	a := map[string]any{"b": 1, "a": "x"}
	b := struct {
		A string `json:"a"`
		B int    `json:"b"`
	}{"x", 1}
	if Fingerprint(a) != Fingerprint(b) {
		t.Error("the order of members matters")
	}
	if Fingerprint(money.New(1<<53, "EUR")) == Fingerprint(money.New(1<<53+1, "EUR")) {
		t.Error("two amounts look alike")
	}
	if got := Fingerprint(struct{}{}); got != "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" {
		t.Errorf("the fingerprint of {} is %s", got)
	}
}

func TestRespond(t *testing.T) {
	w := httptest.NewRecorder()
	Respond(w, http.StatusCreated, struct {
		Items []int `json:"items"`
	}{})
	if w.Code != 201 || w.Body.String() != `{"items":[]}` || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the answer is %d %s %v", w.Code, w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	w.Header().Set("Cache-Control", "max-age=5")
	Respond(w, http.StatusNoContent, nil)
	if w.Code != 204 || w.Body.Len() != 0 || w.Header().Get("Cache-Control") != "max-age=5" {
		t.Errorf("the answer is %d %s %v", w.Code, w.Body, w.Header())
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, `{}`, `null`, `[]`, `{"items":[{"sku":"A","sku":"B"}]}`, `{"at":"2026-01-01T00:00:00Z"}`, "{\"\xff\":1}", `{"items":[{"quantity":1e400}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var o order
		err := Parse(body, &o)
		if err == nil {
			if len(o.Items) < 1 || len(o.Items) > 3 || !json.Valid(body) {
				t.Errorf("%q was accepted as %+v", body, o)
			}
			return
		}
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != 400 {
			t.Fatalf("%q is refused with %v", body, err)
		}
		if !utf8.ValidString(p.Error()) {
			t.Errorf("%q is refused with an error that is not text: %q", body, p.Error())
		}
	})
}

func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{`"a"`, "a", `"a\"b"`, `"`, `""`, " a ", `"a\\"`, "a;b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := keyOf(value)
		if err != nil {
			return
		}
		if len(key) < 1 || len(key) > MaxIdempotencyKey {
			t.Errorf("%q was read as %q", value, key)
		}
		for _, c := range []byte(key) {
			if c < ' ' || c > '~' {
				t.Errorf("%q was read as %q", value, key)
			}
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := keyOf(quoted); err != nil || again != key {
			t.Errorf("%q, quoted, was read as %q, %v", key, again, err)
		}
	})
}
