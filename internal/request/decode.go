// Package request reads requests and answers them: strict JSON bodies, pages, idempotency keys. Each fault becomes a
// problem with the field's name as the client wrote it.
package request

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"caravan/internal/clock"
	"caravan/internal/problem"
)

// DefaultLimit is the largest body in bytes that Decode reads without WithLimit: 64 KiB.
const DefaultLimit = 64 << 10

// Option changes how Decode reads.
type Option func(*settings)

type settings struct {
	limit    int64
	nonEmpty bool
}

// WithLimit sets the largest body in bytes.
func WithLimit(bytes int64) Option {
	return func(s *settings) { s.limit = bytes }
}

// SomeMember refuses a body without any member. A change that changes nothing is a mistake.
func SomeMember() Option {
	return func(s *settings) { s.nonEmpty = true }
}

// Decode reads the request's JSON body into dst, a pointer. It checks the validator tags of the struct it points to
// (https://pkg.go.dev/github.com/go-playground/validator/v10), and Check if the struct is a Checker.
//
// The body must be one JSON value in UTF-8 whose member names match exactly. Decode refuses unknown and repeated
// members and anything after the value: RFC 8259 leaves their meaning open, so two readers may disagree, which
// attackers can use. null is refused (see checkMembers), a member without omitempty or omitzero is required, and one with
// omitempty must not be empty. clock.Parse reads the times. Errors are problems: 415 for another media type, 413 for a
// body over the limit, 400 for the rest, with the JSON paths of the fields.
func Decode(r *http.Request, dst any, options ...Option) error {
	set := settings{limit: DefaultLimit}
	for _, option := range options {
		option(&set)
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		// The gateway drops the media type of an absent body, and behind a sidecar an absent body arrives in chunks.
		if n, err := r.Body.Read(make([]byte, 1)); n == 0 && errors.Is(err, io.EOF) {
			return problem.Malformed("The request needs a body.")
		}
		return problem.UnsupportedMedia()
	}
	if r.ContentLength > set.limit {
		return problem.TooLarge(set.limit)
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead) // bounded by the limit above
	}
	if _, err := body.ReadFrom(http.MaxBytesReader(nil, r.Body, set.limit)); err != nil {
		return unreadable(err)
	}
	return parse(body.Bytes(), dst, set)
}

// DecodeOptional is Decode for a body that may be absent, whatever its media type is; dst then stays as it is. The
// length is not enough to know that: behind a sidecar every body arrives in chunks, also one of no bytes.
func DecodeOptional(r *http.Request, dst any, options ...Option) error {
	body := bufio.NewReader(r.Body)
	switch _, err := body.Peek(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return unreadable(err)
	}
	r.Body = io.NopCloser(body) // the server closes the original body
	return Decode(r, dst, options...)
}

// NoBody is for a request without a body. It also accepts an empty object, because some clients send one with every
// POST. It refuses anything else, because it would be ignored.
func NoBody(r *http.Request) error {
	return DecodeOptional(r, &struct{}{})
}

func parse(body []byte, dst any, set settings) error {
	if err := json.Unmarshal(body, dst, json.RejectUnknownMembers(true), json.WithUnmarshalers(times)); err != nil {
		return describe(body, err)
	}
	broken, err := faults(dst)
	if err != nil {
		return err
	}
	return invalid(merge(checkMembers(body, reflect.TypeOf(dst), set.nonEmpty), broken))
}

// merge adds those faults of a later check that are about other fields. The later check cannot distinguish an absent
// member from a zero one.
func merge(wrong, later []problem.FieldError) []problem.FieldError {
	first := wrong
	for _, e := range later {
		about := func(known problem.FieldError) bool { return known.Field == "" || within(e.Field, known.Field) }
		if !slices.ContainsFunc(first, about) {
			wrong = append(wrong, e)
		}
	}
	return wrong
}

// invalid is the error for all faults, or nil if there is none.
func invalid(wrong []problem.FieldError) error {
	if len(wrong) == 0 {
		return nil
	}
	return problem.Invalid(wrong...)
}

// within reports whether field equals of or is a part of it.
func within(field, of string) bool {
	rest, ok := strings.CutPrefix(field, of)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// times reads every time.Time of a body with the rule for all times from outside.
var times = json.UnmarshalFromFunc(func(decoder *jsontext.Decoder, t *time.Time) error {
	token, err := decoder.ReadToken()
	if err != nil {
		return err
	}
	*t = time.Time{}
	switch token.Kind() {
	case jsontext.KindString:
		*t, err = clock.Parse(token.String())
		return err
	case jsontext.KindNull: // checkMembers refuses it
		return nil
	default:
		return clock.ErrTime
	}
})

func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problem.TooLarge(tooLarge.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problem.New(http.StatusRequestTimeout, "request-timeout", "The request took too long to arrive", "")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return problem.Malformed("The body ended before it was complete.")
	}
	return problem.Malformed("The body is not framed correctly.") // net/http has no error value for this
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "application/json" {
		return false
	}
	charset, given := parameters["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// describe turns an error of the JSON package into a problem. A mistake in a field is reported for the field, without
// the text of the library, which contains Go types.
func describe(body []byte, err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		field := fieldOf(semantic.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			return problem.Invalid(problem.FieldError{Field: field, Code: "unknown", Message: "is not a field of this request"})
		}
		if errors.Is(err, clock.ErrTime) {
			return problem.Invalid(problem.FieldError{Field: field, Code: "time", Message: clock.ErrTime.Error()})
		}
		return problem.Invalid(problem.FieldError{Field: field, Code: "type", Message: expected(semantic)})
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return problem.Invalid(problem.FieldError{
				Field: fieldOf(syntactic.JSONPointer), Code: "duplicate", Message: "appears more than once",
			})
		}
		return problem.Malformed(fmt.Sprintf("The body is not valid JSON at byte %d.", syntactic.ByteOffset))
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return problem.Malformed("The body is empty.")
	}
	return problem.Malformed("The body is not valid JSON.")
}

func expected(err *json.SemanticError) string {
	if err.GoType == nil {
		return "has the wrong type"
	}
	t := err.GoType
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "must be a string"
	case reflect.Bool:
		return "must be true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "must be a whole number in range"
	case reflect.Float32, reflect.Float64:
		return "must be a number"
	case reflect.Slice, reflect.Array:
		return "must be an array"
	case reflect.Map, reflect.Struct:
		if err.JSONKind == jsontext.KindBeginObject || err.JSONKind == jsontext.KindString {
			return "is not valid" // a type with its own syntax, such as a time
		}
		return "must be an object"
	}
	return "has the wrong type"
}

// fieldOf converts a JSON pointer (RFC 6901) into the usual form: /items/0/quantity is items[0].quantity. The whole
// body is "".
func fieldOf(pointer jsontext.Pointer) string {
	var b strings.Builder
	for part := range pointer.Tokens() {
		if _, err := strconv.Atoi(part); err == nil {
			b.WriteString("[" + part + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shorten(part))
	}
	return b.String()
}

// shorten limits the length of a name from the client, so that an error can contain it.
func shorten(name string) string {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return strings.ToValidUTF8(name, "")
}
