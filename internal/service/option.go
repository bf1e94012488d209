package service

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// envPrefix starts every environment variable that is a configuration key of Caravan.
const envPrefix = "CARAVAN_"

// option is one configuration key as described by the tags of a settings struct.
type option struct {
	key      string   // such as feed.pull_interval
	env      []string // such as CARAVAN_FEED_PULL_INTERVAL, and the name that Dapr uses
	standard string   // the default, as text
	help     string
	secret   bool
	open     bool // a map: every key below it is known
	index    []int
}

// optionsOf lists the keys of a settings struct in the order of its fields. Tags: mapstructure is the name of the key,
// default its value as text, env a second environment variable, help its meaning, and secret hides it in output. The
// validator reads validate.
func optionsOf(t reflect.Type, prefix string, index []int) ([]option, error) {
	var options []option
	for i := range t.NumField() {
		field := t.Field(i)
		name, flags, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		path := append(append([]int(nil), index...), i)
		squash := strings.Contains(flags, "squash")
		if name == "" && !squash {
			name = field.Name
		}
		key := strings.ToLower(prefix + name)
		if field.Type.Kind() == reflect.Struct && !isValue(field.Type) {
			next := key + "."
			if squash {
				next = prefix
			}
			inner, err := optionsOf(field.Type, next, path)
			if err != nil {
				return nil, err
			}
			options = append(options, inner...)
			continue
		}
		if strings.ContainsAny(name, ".- ") {
			return nil, fmt.Errorf("the settings field %s.%s has the key %q: use letters, digits and _", t, field.Name, name)
		}
		o := option{
			key: key, env: []string{envName(key)}, standard: field.Tag.Get("default"), help: field.Tag.Get("help"),
			secret: field.Tag.Get("secret") == "true", open: field.Type.Kind() == reflect.Map, index: path,
		}
		if other := field.Tag.Get("env"); other != "" {
			o.env = append(o.env, other)
		}
		options = append(options, o)
	}
	return options, nil
}

// isValue reports whether a struct is one value, such as a time.Time, and not a section of keys.
func isValue(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// text returns the value of the option in its struct, for people and for YAML.
func (o option) text(settings reflect.Value) any {
	value := settings.FieldByIndex(o.index).Interface()
	switch v := value.(type) {
	case time.Duration:
		return v.String()
	case encoding.TextMarshaler:
		if text, err := v.MarshalText(); err == nil {
			return string(text)
		}
	case fmt.Stringer:
		return v.String()
	}
	return value
}
