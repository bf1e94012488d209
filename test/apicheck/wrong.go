package apicheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Operation is one operation of the document with its inputs.
type Operation struct {
	ID, Method, Path string
	// Permissions must be in the caller's token; SignedIn means that there must be one.
	Permissions []string
	SignedIn    bool
	// Example is a body that the document allows, with every known member; nil if there is no body.
	Example []byte
	// Form means that the body is an HTML form. It has no example and no wrong bodies: its own test sends them.
	Form bool
	// Optional means that the body may be left out.
	Optional bool
	// Wrong are bodies that the document forbids, each with one fault.
	Wrong []Wrong
	// Query are the query parameters.
	Query []Parameter
	// Key is "required" or "optional" if there is an Idempotency-Key, and "" if there is none.
	Key string
}

// Wrong is a body that the document forbids.
type Wrong struct {
	// Name describes the fault. Field is its place: a path such as items[0].sku, and "" for the whole body.
	Name, Field string
	Body        []byte
}

// Parameter is a query parameter with one valid value and some invalid ones.
type Parameter struct {
	Name, Right string
	Wrong       []string
}

// Operations returns every operation of the document, sorted by path and method. It is an error if a body has no
// example or an example lacks a member, because these would not be tested.
func (d *Document) Operations() ([]Operation, error) {
	var all []Operation
	for _, path := range slices.Sorted(maps.Keys(d.spec.Paths.Map())) {
		item := d.spec.Paths.Value(path)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			one, err := d.operation(method, path, item)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			all = append(all, one)
		}
	}
	return all, nil
}

func (d *Document) operation(method, path string, item *openapi3.PathItem) (Operation, error) {
	from := item.GetOperation(method)
	one := Operation{ID: from.OperationID, Method: method, Path: path}
	security := from.Security
	if security == nil {
		security = &d.spec.Security
	}
	for _, requirement := range *security {
		for _, permissions := range requirement {
			one.SignedIn, one.Permissions = true, permissions
		}
	}
	for _, ref := range slices.Concat(item.Parameters, from.Parameters) {
		switch p := ref.Value; {
		case p.In == openapi3.ParameterInQuery:
			one.Query = append(one.Query, parameter(p))
		case p.Name == "Idempotency-Key" && p.Required:
			one.Key = "required"
		case p.Name == "Idempotency-Key":
			one.Key = "optional"
		}
	}
	if from.RequestBody == nil {
		return one, nil
	}
	one.Optional = !from.RequestBody.Value.Required
	if from.RequestBody.Value.Content["application/x-www-form-urlencoded"] != nil {
		one.Form = true
		return one, nil
	}
	media := from.RequestBody.Value.Content["application/json"]
	if media == nil || media.Example == nil {
		return one, fmt.Errorf("the body has no example")
	}
	if err := complete(media.Schema.Value, media.Example, ""); err != nil {
		return one, err
	}
	var err error
	one.Example, err = json.Marshal(media.Example)
	b := breaker{root: media.Example}
	b.value(media.Schema.Value, media.Example, nil)
	one.Wrong = b.wrong
	return one, err
}

// complete checks that an example has every member of its schema, and an element in each list.
func complete(s *openapi3.Schema, example any, at string) error {
	switch v := example.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if _, ok := v[name]; !ok {
				return fmt.Errorf("the example lacks %s", strings.TrimPrefix(at+"."+name, "."))
			}
			if err := complete(s.Properties[name].Value, v[name], at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		if len(v) == 0 {
			return fmt.Errorf("the example has nothing in %s", at)
		}
		return complete(s.Items.Value, v[0], at+"[0]")
	}
	return nil
}

// breaker makes wrong bodies from an example.
type breaker struct {
	root  any
	wrong []Wrong
}

// put adds the example with another value at a place, or without it if the value is nil.
func (b *breaker) put(at []any, name string, value any) {
	body, err := json.Marshal(changed(b.root, at, value))
	if err != nil {
		panic(err) // values come from JSON
	}
	field := ""
	for _, step := range at {
		if n, ok := step.(int); ok {
			field += "[" + strconv.Itoa(n) + "]"
		} else {
			field = strings.TrimPrefix(field+"."+step.(string), ".")
		}
	}
	b.wrong = append(b.wrong, Wrong{Name: name, Field: field, Body: body})
}

// changed copies a value with another one at a place.
func changed(root any, at []any, value any) any {
	if len(at) == 0 {
		return value
	}
	switch v := root.(type) {
	case map[string]any:
		name, copied := at[0].(string), maps.Clone(v)
		if len(at) == 1 && value == nil {
			delete(copied, name)
		} else {
			copied[name] = changed(v[name], at[1:], value)
		}
		return copied
	case []any:
		copied := slices.Clone(v)
		copied[at[0].(int)] = changed(v[at[0].(int)], at[1:], value)
		return copied
	}
	panic(fmt.Sprintf("there is no %v", at))
}

func raw(text string) json.RawMessage { return json.RawMessage(text) }

// value breaks one value, and the values in it, in every way that its schema allows.
func (b *breaker) value(s *openapi3.Schema, example any, at []any) {
	if !s.Type.Includes("null") {
		b.put(at, "null", raw("null"))
	}
	for kind, text := range map[string]string{"string": `"x"`, "integer": "7", "boolean": "true", "array": "[]", "object": "{}"} {
		if !s.Type.Includes(kind) {
			b.put(at, kind+" for "+s.Type.Slice()[0], raw(text))
		}
	}
	switch v := example.(type) {
	case map[string]any:
		b.object(s, v, at)
	case []any:
		b.array(s, v, at)
	case string:
		for name, text := range texts(s, v) {
			b.put(at, name, text)
		}
	default:
		b.number(s, at)
	}
}

func (b *breaker) object(s *openapi3.Schema, v map[string]any, at []any) {
	if s.MinProps > 0 {
		b.put(at, "no member", raw("{}"))
	}
	within := func(name string) []any { return append(slices.Clone(at), name) }
	b.put(within("unexpected"), "unknown member", 1)
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if slices.Contains(s.Required, name) {
			b.put(within(name), "missing", nil)
		}
		b.put(within(strings.ToUpper(name[:1])+name[1:]), "member in other case", v[name])
		b.twice(v, name, at)
		b.value(s.Properties[name].Value, v[name], within(name))
	}
}

// twice repeats a member.
func (b *breaker) twice(v map[string]any, name string, at []any) {
	object, err := json.Marshal(v)
	member, err2 := json.Marshal(map[string]any{name: v[name]})
	if err != nil || err2 != nil {
		panic("examples are of JSON")
	}
	b.put(at, "member twice", raw(string(object[:len(object)-1])+","+string(member[1:])))
	b.wrong[len(b.wrong)-1].Field = strings.TrimPrefix(b.wrong[len(b.wrong)-1].Field+"."+name, ".")
}

func (b *breaker) array(s *openapi3.Schema, v []any, at []any) {
	if s.MinItems > 0 {
		b.put(at, "too few", v[:s.MinItems-1])
	}
	if s.MaxItems != nil {
		b.put(at, "too many", slices.Repeat(v[:1], int(*s.MaxItems)+1))
	}
	if s.UniqueItems {
		b.put(at, "twice the same", []any{v[0], v[0]})
	}
	b.value(s.Items.Value, v[0], append(slices.Clone(at), 0))
}

func (b *breaker) number(s *openapi3.Schema, at []any) {
	for _, text := range []string{`"7"`, "1.5", "1e400", "9223372036854775808", "-9223372036854775809"} {
		b.put(at, "not a whole number of 64 bits", raw(text))
	}
	if s.Min != nil {
		b.put(at, "too small", int64(*s.Min)-1)
		b.put(at, "the smallest", int64(math.MinInt64))
	}
	if s.Max != nil {
		b.put(at, "too large", int64(*s.Max)+1)
		b.put(at, "the largest", int64(math.MaxInt64))
	}
	if s.Not != nil && s.Not.Value.Const != nil {
		b.put(at, "what it must not be", s.Not.Value.Const)
	}
}

// strange are texts that most patterns forbid.
var strange = []string{" ", "!", "x", "X", "-", "a b", "Ä", "a||b", "a/b", "x\n", "0", "5", "-5s", "+5s", ".5s", "5us"}

// notTimes are not times, or times that RFC 3339 in UTC cannot express.
var notTimes = []string{
	"soon", "2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00,5Z", "9999-12-31T23:59:59-14:00",
	"0000-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "12026-01-01T00:00:00Z",
}

// texts returns strings that a schema forbids, by their fault.
func texts(s *openapi3.Schema, example string) map[string]string {
	all := make(map[string]string)
	if s.MinLength > 0 {
		all["too short"] = strings.Repeat("a", int(s.MinLength)-1)
	}
	if s.MaxLength != nil {
		all["too long"] = example + strings.Repeat("a", max(0, int(*s.MaxLength)+1-len([]rune(example))))
	}
	if len(s.Enum) > 0 {
		all["not one of the list"] = "no-such"
		all["in other case"] = strings.ToUpper(example)
	}
	if s.Pattern != "" {
		pattern := regexp.MustCompile(s.Pattern)
		for _, text := range append(strange, "", example+" ", example+"\n", " "+example, example+"!") {
			if !pattern.MatchString(text) {
				all[fmt.Sprintf("not of the pattern: %q", text)] = text
			}
		}
	}
	if s.Format == "date-time" {
		for _, text := range notTimes {
			all["not a time: "+text] = text
		}
	}
	return all
}

// parameter returns a query parameter with values that violate its schema.
func parameter(p *openapi3.Parameter) Parameter {
	s := p.Schema.Value
	one := Parameter{Name: p.Name}
	switch {
	case p.Example != nil:
		one.Right = fmt.Sprint(p.Example)
	case len(s.Examples) > 0:
		one.Right = fmt.Sprint(s.Examples[0])
	case len(s.Enum) > 0:
		one.Right = fmt.Sprint(s.Enum[0])
	case s.Default != nil:
		one.Right = fmt.Sprint(s.Default)
	case s.Format == "date-time":
		one.Right = "2026-01-01T00:00:00+02:00"
	}
	if !p.AllowEmptyValue {
		one.Wrong = append(one.Wrong, "")
	}
	switch {
	case s.Type.Is("string"):
		for _, text := range texts(s, one.Right) {
			if text != "" {
				one.Wrong = append(one.Wrong, text)
			}
		}
	case s.Type.Is("integer"):
		one.Wrong = append(one.Wrong, "x", "1.5", "+1", "1e1", "99999999999999999999",
			strconv.FormatFloat(*s.Min-1, 'f', 0, 64), strconv.FormatFloat(*s.Max+1, 'f', 0, 64))
	case s.Type.Is("boolean"):
		one.Wrong = append(one.Wrong, "x", "1", "TRUE", "yes")
	}
	slices.Sort(one.Wrong)
	return one
}
