package request

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"

	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/internal/text"
)

// rules is made once, because the validator caches the rules of each type. Many goroutines may use it.
var rules = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			return ""
		}
		return name
	})
	v.RegisterStructValidation(func(level validator.StructLevel) {
		if m, ok := level.Current().Interface().(money.Money); ok && m.Validate() != nil {
			level.ReportError(m.Currency, "currency", "Currency", "currency", "")
		}
	}, money.Money{})
	register(v, "currency", ofString(money.Known))
	register(v, "id", ofString(id.Valid))
	register(v, "plainid", ofString(id.Plain))
	register(v, "sku", ofString(id.ValidSKU))
	register(v, "time", func(f reflect.Value) bool {
		t, ok := f.Interface().(time.Time)
		return ok && clock.Acceptable(t)
	})
	for tag := range textRules {
		registerText(v, tag)
	}
	return v
})

// textRules are the rules of text that people write, by the tag that applies them.
var textRules = map[string]text.Rule{"line": text.Line, "multiline": text.Multiline, "name": text.Name}

// registerText adds a rule that cleans its field if the field can be changed. The rule refuses text that has only
// spaces, so "required" may come before or after it.
func registerText(v *validator.Validate, tag string) {
	err := v.RegisterValidation(tag, func(level validator.FieldLevel) bool {
		field := level.Field()
		clean, err := textRules[tag].Clean(field.String(), 0)
		if err != nil || clean == "" && field.String() != "" {
			return false
		}
		if field.CanSet() {
			field.SetString(clean)
		}
		return field.String() == clean
	})
	if err != nil {
		panic(fmt.Sprintf("request: registering the rule %q: %v", tag, err))
	}
}

// explainText returns why a text is refused.
func explainText(rule text.Rule, value any) string {
	switch clean, err := rule.Clean(reflect.ValueOf(value).String(), 0); {
	case err != nil:
		return err.Error()
	case clean == "":
		return "must contain a visible character"
	}
	return "must be trimmed and in Unicode normal form C"
}

// ofString is a rule about a field that is a string.
func ofString(valid func(string) bool) func(reflect.Value) bool {
	return func(f reflect.Value) bool { return valid(f.String()) }
}

// register adds a rule about a field. It panics only on a mistake in the rule's name.
func register(v *validator.Validate, tag string, valid func(reflect.Value) bool) {
	err := v.RegisterValidation(tag, func(level validator.FieldLevel) bool { return valid(level.Field()) })
	if err != nil {
		panic(fmt.Sprintf("request: registering the rule %q: %v", tag, err))
	}
}

// Validate checks the validator tags of v, a struct or a pointer to one; it accepts anything else. Caravan adds these
// rules: "currency" (a known ISO 4217 code, applied to each money.Money by itself), "id" (a UUID in canonical form),
// "plainid" (see id.Plain), "sku" (see id.ValidSKU), "time" (see clock.Acceptable), and "line", "multiline" and "name"
// for text that people write (see package text). These text rules also clean the field behind a pointer. A Checker has
// the rules that tags cannot express. The error is a problem.Invalid with every broken rule.
func Validate(v any) error {
	wrong, err := faults(v)
	if err != nil {
		return err
	}
	return invalid(wrong)
}

// Checker is a value with rules that tags cannot express. Check returns every broken one. It is called even if a tag is
// broken; its faults about such a field are ignored.
type Checker interface {
	Check() []problem.FieldError
}

// faults lists every broken rule of tags and of Check.
func faults(v any) ([]problem.FieldError, error) {
	wrong, err := brokenTags(v)
	if err != nil {
		return nil, err
	}
	if c, ok := v.(Checker); ok {
		wrong = merge(wrong, c.Check())
	}
	return wrong, nil
}

func brokenTags(v any) ([]problem.FieldError, error) {
	t := reflect.TypeOf(v)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, nil
	}
	err := rules().Struct(v)
	if err == nil {
		return nil, nil
	}
	var broken validator.ValidationErrors
	if !errors.As(err, &broken) {
		return nil, fmt.Errorf("validating the request: %w", err)
	}
	fields := make([]problem.FieldError, 0, len(broken))
	for _, rule := range broken {
		// The namespace begins with the name of the Go type, which the client must not see.
		_, path, found := strings.Cut(rule.Namespace(), ".")
		if !found {
			path = rule.Field()
		}
		field := problem.FieldError{Field: path, Code: rule.Tag(), Message: explain(rule)}
		if kind, is := textRules[rule.Tag()]; is {
			field.Code, field.Message = "text", explainText(kind, rule.Value())
		}
		fields = append(fields, field)
	}
	return fields, nil
}

func explain(rule validator.FieldError) string {
	kind, limit := rule.Kind(), rule.Param()
	unit := ""
	switch kind {
	case reflect.String:
		unit = " characters"
	case reflect.Slice, reflect.Array, reflect.Map:
		unit = " entries"
	default:
	}
	switch rule.Tag() {
	case "required":
		return "is required"
	case "min", "gte":
		return "must be at least " + limit + unit
	case "max", "lte":
		return "must be at most " + limit + unit
	case "gt":
		return "must be more than " + limit + unit
	case "lt":
		return "must be less than " + limit + unit
	case "len":
		return "must be exactly " + limit + unit
	case "oneof":
		return "must be one of " + strings.Join(strings.Fields(limit), ", ")
	case "startswith":
		return "must start with " + limit
	case "email":
		return "must be an e-mail address"
	case "url", "http_url":
		return "must be a URL"
	case "unique":
		return "must not repeat an entry"
	case "currency", "iso4217":
		return "must be an ISO 4217 currency code"
	case "id", "uuid", "plainid":
		return "must be an id"
	case "time":
		return clock.ErrTime.Error()
	case "sku":
		return id.SKURule
	}
	if limit != "" {
		return "does not meet the rule " + rule.Tag() + "=" + limit
	}
	return "does not meet the rule " + rule.Tag()
}
