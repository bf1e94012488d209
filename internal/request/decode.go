// Package request reads what a client sent and answers it: strict JSON bodies, pages, idempotency
// keys. Whatever is wrong comes back as a problem that names the field as the client wrote it.
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

// DefaultLimit is the largest body in bytes that Decode reads unless told otherwise: 64 KiB.
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

// SomeMember refuses a body without any member: a change that changes nothing is a mistake.
func SomeMember() Option {
	return func(s *settings) { s.nonEmpty = true }
}

// Decode reads the request's JSON body into dst, a pointer, and checks the validator tags of the
// struct it points to (https://pkg.go.dev/github.com/go-playground/validator/v10) and its Check, if it is a Checker.
//
// The body must be one JSON value in UTF-8 whose member names match exactly: unknown and repeated
// members and anything after the value are refused (RFC 8259 leaves their meaning open, and two
// readers that differ in it are a hole). A null is refused wherever it is, a member without
// omitempty or omitzero is required, and one with omitempty must not be sent empty. Times are read
// by clock.Parse. Errors are problems: 415 for another media type, 413 for a
// body over the limit, 400 for the rest, naming the fields by their JSON path.
func Decode(r *http.Request, dst any, options ...Option) error {
	set := settings{limit: DefaultLimit}
	for _, option := range options {
		option(&set)
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		// The gateway drops the media type of a body that is not there, and behind a sidecar that one comes in chunks.
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

// DecodeOptional is Decode for a body that may be left out, whatever its media type is then said to
// be; dst stays as it is. The length alone does not tell: behind a sidecar every body comes in chunks,
// also one of no bytes.
func DecodeOptional(r *http.Request, dst any, options ...Option) error {
	body := bufio.NewReader(r.Body)
	switch _, err := body.Peek(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return unreadable(err)
	}
	r.Body = io.NopCloser(body) // the server closes what it gave
	return Decode(r, dst, options...)
}

// NoBody is for a request that needs no body: it may have none, or an empty object, as some clients
// send with every POST. What else it says would be ignored, so it is refused.
func NoBody(r *http.Request) error {
	return DecodeOptional(r, &struct{}{})
}

// Parse is Decode for a body that is already in memory.
func Parse(body []byte, dst any) error { return parse(body, dst, settings{}) }

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

// merge adds to faults those of a later check that are about other fields: to a rule an absent member looks like one that
// is zero.
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

// invalid is the error of all faults, nil if there is none.
func invalid(wrong []problem.FieldError) error {
	if len(wrong) == 0 {
		return nil
	}
	return problem.Invalid(wrong...)
}

// within reports whether a field is another one or a part of it.
func within(field, of string) bool {
	rest, ok := strings.CutPrefix(field, of)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// times reads every time.Time of a body by the one rule for times from outside.
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
	case jsontext.KindNull: // which checkMembers refuses
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
	return problem.Malformed("The body is not framed correctly.") // net/http has no error of its own for this
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

// describe turns an error of the JSON package into a problem. A mistake that belongs to a field is
// reported on the field, without the library's words: those name Go types.
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
			return "is not valid" // a type with a form of its own, such as a time
		}
		return "must be an object"
	}
	return "has the wrong type"
}

// fieldOf writes a JSON pointer (RFC 6901) the way people write paths: /items/0/quantity is
// items[0].quantity. The whole body is "".
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

// shorten bounds a name that is the client's text, so that an error can hold it.
func shorten(name string) string {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return strings.ToValidUTF8(name, "")
}
