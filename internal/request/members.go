package request

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"caravan/internal/problem"
)

// An absent member and a zero one have different meanings, but a Go struct cannot distinguish them: "all of it" looks
// like "an amount that the client failed to fill in". So the members are checked in the JSON itself, against the json
// tags of the struct:
//
//   - null is refused, because it has no meaning in our API. The tag null:"allowed" permits it for a member of a form that others
//     have defined.
//   - A member without omitempty or omitzero is required.
//   - A member with omitempty is never sent empty ("", [], {}): for us that is the same as absent, and a filter that is
//     empty by mistake would choose everything. With omitzero it may be empty.

// field is a member of a JSON object by its Go type.
type field struct {
	name               string
	of                 reflect.Type
	required, nonEmpty bool
	nullable           bool
}

// fields caches the members of each struct type that a body was read into.
var fields sync.Map // of []field by reflect.Type

// fieldsOf lists the members of a struct in their order.
func fieldsOf(t reflect.Type) []field {
	if known, ok := fields.Load(t); ok {
		return known.([]field)
	}
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			all = append(all, fieldsOf(element(f.Type))...)
			continue
		case name == "":
			name = f.Name
		}
		empty, zero := strings.Contains(options, "omitempty"), strings.Contains(options, "omitzero")
		all = append(all, field{name: name, of: f.Type, required: !empty && !zero, nonEmpty: empty, nullable: f.Tag.Get("null") == "allowed"})
	}
	fields.Store(t, all)
	return all
}

// element is the type that pointers lead to.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// checkMembers reports the members of a body that are not allowed as they are. The body was read into a value of type t
// before, so it is valid JSON of that form.
func checkMembers(body []byte, t reflect.Type, nonEmpty bool) []problem.FieldError {
	m := members{decoder: jsontext.NewDecoder(bytes.NewReader(body))}
	m.value(t, field{nonEmpty: nonEmpty})
	return m.wrong
}

// members reads through the JSON of a body.
type members struct {
	decoder *jsontext.Decoder
	wrong   []problem.FieldError
}

// value reads through one value of type t with the rules of its member. A nil t has no rules about its members.
func (m *members) value(t reflect.Type, rules field) {
	if t != nil {
		t = element(t)
	}
	count := 0
	token, err := m.decoder.ReadToken()
	if err != nil {
		return
	}
	at := m.decoder.StackPointer()
	kind := token.Kind()
	switch kind {
	case jsontext.KindNull:
		if !rules.nullable {
			m.report(at, "null", "must not be null; leave it out if there is no value")
		}
		return
	case jsontext.KindString:
		count = len(token.String())
	case jsontext.KindBeginObject:
		count = m.object(at, t)
	case jsontext.KindBeginArray:
		for ; m.decoder.PeekKind() != jsontext.KindEndArray; count++ {
			m.value(inner(t), field{})
		}
		_, _ = m.decoder.ReadToken() // the end, which was peeked already
	default:
		return
	}
	switch {
	case !rules.nonEmpty || count > 0:
	case at == "":
		m.report(at, "empty", "must have at least one member")
	default:
		m.report(at, "empty", "must not be empty; leave it out if there is no value")
	}
}

// object reads through the members of an object after its beginning, and counts them.
func (m *members) object(at jsontext.Pointer, t reflect.Type) (count int) {
	var known []field
	if t != nil && t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() {
		known = fieldsOf(t)
	}
	var seen uint64 // one bit a member; our bodies have at most 64
	for ; m.decoder.PeekKind() != jsontext.KindEndObject; count++ {
		name, err := m.decoder.ReadToken()
		if err != nil {
			return count
		}
		of, rules := inner(t), field{}
		for i, f := range known {
			if f.name == name.String() {
				of, rules = f.of, f
				seen |= 1 << i
				break
			}
		}
		m.value(of, rules)
	}
	_, _ = m.decoder.ReadToken() // the end, which was peeked already
	for i, f := range known {
		if f.required && seen&(1<<i) == 0 {
			m.report(at.AppendToken(f.name), "required", "is required")
		}
	}
	return count
}

func (m *members) report(at jsontext.Pointer, code, message string) {
	m.wrong = append(m.wrong, problem.FieldError{Field: fieldOf(at), Code: code, Message: message})
}

// inner is the type of the elements of an array or map, or nil.
func inner(t reflect.Type) reflect.Type {
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return t.Elem()
	default:
		return nil
	}
}
