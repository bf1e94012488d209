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
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"caravan/internal/problem"
)

// DefaultLimit is the largest body in bytes that Decode reads unless told otherwise: 64 KiB.
const DefaultLimit = 64 << 10

// Option changes how Decode reads.
type Option func(*settings)

type settings struct{ limit int64 }

// WithLimit sets the largest body in bytes.
func WithLimit(bytes int64) Option {
	return func(s *settings) { s.limit = bytes }
}

// Decode reads the request's JSON body into dst, a pointer, and checks the validator tags of the
// struct it points to (https://pkg.go.dev/github.com/go-playground/validator/v10).
//
// The body must be one JSON value in UTF-8 whose member names match exactly: unknown and repeated
// members and anything after the value are refused (RFC 8259 leaves their meaning open, and two
// readers that differ in it are a hole). Errors are problems: 415 for another media type, 413 for a
// body over the limit, 400 for the rest, naming the fields by their JSON path.
func Decode(w http.ResponseWriter, r *http.Request, dst any, options ...Option) error {
	set := settings{limit: DefaultLimit}
	for _, option := range options {
		option(&set)
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return problem.UnsupportedMedia()
	}
	if r.ContentLength > set.limit {
		return problem.TooLarge(set.limit)
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead) // bounded by the limit above
	}
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, set.limit)); err != nil {
		return unreadable(err)
	}
	return Parse(body.Bytes(), dst)
}

// DecodeOptional is Decode for a body that may be left out, whatever its media type is then said to
// be; dst stays as it is. The length alone does not tell: behind a sidecar every body comes in chunks,
// also one of no bytes.
func DecodeOptional(w http.ResponseWriter, r *http.Request, dst any, options ...Option) error {
	body := bufio.NewReader(r.Body)
	switch _, err := body.Peek(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return unreadable(err)
	}
	r.Body = io.NopCloser(body) // the server closes what it gave
	return Decode(w, r, dst, options...)
}

// Parse is Decode for a body that is already in memory.
func Parse(body []byte, dst any) error {
	if err := json.Unmarshal(body, dst, json.RejectUnknownMembers(true)); err != nil {
		return describe(body, err)
	}
	return Validate(dst)
}

func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problem.TooLarge(tooLarge.Limit)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return problem.Malformed("the body ended early")
	}
	return fmt.Errorf("reading the request body: %w", err)
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
		return problem.Invalid(problem.FieldError{Field: field, Code: "type", Message: expected(semantic)})
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return problem.Invalid(problem.FieldError{
				Field: fieldOf(syntactic.JSONPointer), Code: "duplicate", Message: "appears more than once",
			})
		}
		return problem.Malformed(fmt.Sprintf("the body is not valid JSON at byte %d", syntactic.ByteOffset))
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return problem.Malformed("the body is empty")
	}
	return problem.Malformed("the body is not valid JSON")
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
		if len(part) > 64 {
			part = strings.ToValidUTF8(part[:64], "") + "…" // the name is the client's text
		}
		b.WriteString(part)
	}
	return b.String()
}
