package request

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"caravan/internal/page"
	"caravan/internal/problem"
)

// Parameters are the query parameters that an operation knows. The value says whether the parameter may be empty. The
// zero value knows none.
type Parameters map[string]bool

// SplitPattern splits the pattern of a route into a pattern of http.ServeMux and the query parameters, which follow "?"
// and are joined by "&". A "=" after a name allows it to be empty:
//
//	GET /v1/ops/orders?status&waiting=&limit&cursor
func SplitPattern(pattern string) (string, Parameters) {
	pattern, declaration, _ := strings.Cut(pattern, "?")
	known := make(Parameters)
	for name := range strings.SplitSeq(declaration, "&") {
		if name, mayBeEmpty := strings.CutSuffix(name, "="); name != "" {
			known[name] = mayBeEmpty
		}
	}
	return pattern, known
}

// Check returns a problem.Invalid for every parameter of a query that is unknown, repeated, empty or not readable.
// Ignoring a parameter would widen the answer: a list of one state would become the list of all. After Check,
// r.URL.Query() contains everything that the client wrote. Without Check, url.ParseQuery would drop what it cannot
// read, such as a pair with a semicolon.
func (p Parameters) Check(query string) error {
	if query == "" {
		return nil
	}
	var wrong []problem.FieldError
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if fault := p.fault(pair, seen); fault.Code != "" {
			wrong = append(wrong, fault)
		}
	}
	if len(wrong) > 0 {
		return problem.Invalid(wrong...)
	}
	return nil
}

// fault returns what is wrong with one pair of a query. An empty code means nothing.
func (p Parameters) fault(pair string, seen map[string]bool) problem.FieldError {
	name, value, readable := readPair(pair)
	fault := problem.FieldError{Field: shorten(name)}
	mayBeEmpty, known := p[name]
	switch {
	case !readable:
		fault.Code, fault.Message = "malformed", "cannot be read: it must be percent-encoded text in UTF-8, without control characters and with %3B for a semicolon"
	case !known:
		fault.Code, fault.Message = "unknown", "is not a parameter of this request"
	case seen[name]:
		fault.Code, fault.Message = "duplicate", "appears more than once"
	case value == "" && !mayBeEmpty:
		fault.Code, fault.Message = "required", "must not be empty"
	}
	seen[name] = true
	return fault
}

// readPair decodes one pair. If the pair is not readable, the name is the part that is.
func readPair(pair string) (name, value string, readable bool) {
	written, rest, _ := strings.Cut(pair, "=")
	name, errName := url.QueryUnescape(written)
	value, errValue := url.QueryUnescape(rest)
	if errName != nil || strings.Contains(written, ";") {
		name, _, _ = strings.Cut(written, ";")
		return name, "", false
	}
	return name, value, errValue == nil && !strings.Contains(rest, ";") && plain(name) && plain(value)
}

// plain reports whether a text is UTF-8 without control characters.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// duration is the syntax of a duration in a query: no sign, no bare 0, and no unit below a millisecond.
var duration = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)

// Duration reads a duration such as 1.5s, 300ms or 1h30m and reports whether the text is one.
func Duration(text string) (time.Duration, bool) {
	d, err := time.ParseDuration(text)
	return d, err == nil && duration.MatchString(text)
}

// The limits of a page. A list never returns more than MaxPage entries at once.
const (
	DefaultPage = 20
	MaxPage     = 100
)

// Page reads the query parameters limit (1 to 100, 20 if absent) and cursor (opaque, see
// page.Decode). The error is a problem.Invalid that names the parameter.
func Page(r *http.Request) (limit int, cursor string, err error) {
	limit = DefaultPage
	if r.URL.RawQuery == "" {
		return limit, "", nil
	}
	query := r.URL.Query()
	if text := query.Get("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if err != nil || text[0] == '+' || limit < 1 || limit > MaxPage {
			return 0, "", problem.Invalid(problem.FieldError{
				Field: "limit", Code: "range", Message: "must be a whole number from 1 to " + strconv.Itoa(MaxPage),
			})
		}
	}
	cursor = query.Get("cursor")
	if len(cursor) > page.MaxCursor {
		return 0, "", problem.Invalid(problem.FieldError{Field: "cursor", Code: "cursor", Message: "is too long"})
	}
	return limit, cursor, nil
}
