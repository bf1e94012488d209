package service

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"
	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"caravan/internal/text"
)

// mask replaces a secret in the output of --print-config.
const mask = "********"

// config finds the values of the keys: a flag, else the environment, else the file, else the default. Each section that
// the program configures adds known keys. A given key that is unknown at the end is a spelling mistake and stops the
// program.
type config struct {
	values   *viper.Viper
	file     string
	fileKeys []string
	flags    map[string]string
	environ  []string

	options  []option
	sections []reflect.Value // pointers to the settings structs, in the order of owners
	owners   []int           // for each option, its index in sections
	rules    *validator.Validate
}

func loadConfig(args arguments, environ []string) (*config, error) {
	c := &config{values: viper.New(), file: args.file, flags: args.values, environ: environ, rules: newRules()}
	if args.file == "" {
		return c, nil
	}
	c.values.SetConfigFile(args.file)
	if filepath.Ext(args.file) == "" {
		c.values.SetConfigType("yaml")
	}
	if err := c.values.ReadInConfig(); err != nil {
		return nil, fmt.Errorf("reading the configuration file %s: %w", args.file, err)
	}
	c.fileKeys = c.values.AllKeys() // only those of the file: defaults and environment are added later
	return c, nil
}

func newRules() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, flags, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		if name == "" && !strings.Contains(flags, "squash") {
			name = strings.ToLower(field.Name)
		}
		return name
	})
	return v
}

// configure adds the keys of a settings struct and fills it.
func (c *config) configure(target any) error {
	pointer := reflect.ValueOf(target)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() || pointer.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("settings are a pointer to a struct, not %T", target)
	}
	options, err := optionsOf(pointer.Elem().Type(), "", nil)
	if err != nil {
		return err
	}
	raw := make(map[string]any)
	for _, o := range options {
		if err := c.add(o, len(c.sections)); err != nil {
			return err
		}
		place(raw, o.key, c.values.Get(o.key))
	}
	c.sections = append(c.sections, pointer)
	if err := decode(raw, target); err != nil {
		return err
	}
	return c.validate(target)
}

func (c *config) add(o option, section int) error {
	for _, known := range c.options {
		if known.key == o.key {
			return fmt.Errorf("the key %s is configured twice", o.key)
		}
	}
	c.options = append(c.options, o)
	c.owners = append(c.owners, section)
	c.values.SetDefault(o.key, o.standard)
	if err := c.values.BindEnv(append([]string{o.key}, o.env...)...); err != nil {
		return fmt.Errorf("binding the key %s to the environment: %w", o.key, err)
	}
	if value, given := c.flags[o.key]; given {
		c.values.Set(o.key, value)
	}
	if o.secret && c.values.GetString(o.key) == mask {
		return fmt.Errorf("%s: %s stands for a secret in printed configuration and is not one", o.key, mask)
	}
	return nil
}

// place puts a value into nested maps, as the decoder needs it. Values that were not given are left out.
func place(tree map[string]any, key string, value any) {
	if value == nil || value == "" {
		return
	}
	for {
		section, rest, nested := strings.Cut(key, ".")
		if !nested {
			tree[key] = value
			return
		}
		below, ok := tree[section].(map[string]any)
		if !ok {
			below = make(map[string]any)
			tree[section] = below
		}
		tree, key = below, rest
	}
}

func decode(raw map[string]any, target any) error {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: target, WeaklyTypedInput: true, ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToSliceHookFunc(","),
			mapstructure.TextUnmarshallerHookFunc(),
		),
	})
	if err != nil {
		return fmt.Errorf("decoding settings into %T: %w", target, err)
	}
	if err := decoder.Decode(raw); err != nil {
		return fmt.Errorf("the configuration has values of the wrong form: %w", err)
	}
	return nil
}

// validate checks the tags and names every wrong key. It leaves out the value, which may be a secret.
func (c *config) validate(target any) error {
	err := c.rules.Struct(target)
	var broken validator.ValidationErrors
	if !errors.As(err, &broken) {
		return err
	}
	messages := make([]error, 0, len(broken))
	for _, rule := range broken {
		_, key, _ := strings.Cut(rule.Namespace(), ".")
		messages = append(messages, fmt.Errorf("%s (%s): %s", key, envName(key), explain(rule)))
	}
	return errors.Join(messages...)
}

func explain(rule validator.FieldError) string {
	switch rule.Tag() {
	case "required", "required_with", "required_without":
		return "is required"
	case "min", "gte":
		return "must be at least " + rule.Param()
	case "max", "lte":
		return "must be at most " + rule.Param()
	case "oneof":
		return "must be one of " + strings.Join(strings.Fields(rule.Param()), ", ")
	case "startswith":
		return "must start with " + rule.Param()
	case "url", "http_url":
		return "must be a URL"
	case "email":
		return "must be an e-mail address"
	case "hostname_port":
		return "must be host:port"
	}
	if rule.Param() != "" {
		return "does not meet the rule " + rule.Tag() + "=" + rule.Param()
	}
	return "does not meet the rule " + rule.Tag()
}

// otherPrograms are the first words of the keys that the programs of Caravan have beside Settings, sorted. "events" is that of
// services that "dapr new service" makes. The programs of a
// stack often share one shell's environment. So a program ignores the variables of the others, and the other program
// refuses a misspelt one.
var otherPrograms = []string{
	"access", "bank", "bootstrap", "breaker", "cache", "catalogue", "delivery", "email", "events", "forward", "health", "inbox", "keys", "limit", "mail", "password", "push",
	"reconcile", "reservation", "routes", "saga", "sessions", "stream", "wallet", "watch",
}

// checkUnknown refuses keys of the file, flags and CARAVAN_ variables that no section knows.
func (c *config) checkUnknown() error {
	var unknown []error
	for _, key := range c.fileKeys {
		if !c.known(key) && !c.emptySection(key) {
			unknown = append(unknown, fmt.Errorf("%s: there is no key %s; the nearest is %s", c.file, key, c.nearest(key)))
		}
	}
	for key := range c.flags {
		if !c.known(key) {
			unknown = append(unknown, fmt.Errorf("there is no flag --%s; the nearest is --%s", key, c.nearest(key)))
		}
	}
	for _, entry := range c.environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !c.knownEnv(name) && !c.ofAnother(name) && !fromKubernetes(name) {
			key := strings.ToLower(strings.TrimPrefix(name, envPrefix))
			unknown = append(unknown, fmt.Errorf("there is no key for the environment variable %s; the nearest is %s", name, envName(c.nearest(key))))
		}
	}
	slices.SortFunc(unknown, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(unknown...)
}

func (c *config) known(key string) bool {
	return slices.ContainsFunc(c.options, func(o option) bool {
		return o.key == key || (o.open && strings.HasPrefix(key, o.key+"."))
	})
}

func (c *config) knownEnv(name string) bool {
	return slices.ContainsFunc(c.options, func(o option) bool { return o.env[0] == name })
}

// ofAnother reports whether a variable is for another program of Caravan, and this one has no such section.
func (c *config) ofAnother(name string) bool {
	section, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_")
	return slices.Contains(otherPrograms, section) && !slices.ContainsFunc(c.options, func(o option) bool {
		return o.key == section || strings.HasPrefix(o.key, section+".")
	})
}

// emptySection reports whether the file has the name of a section with nothing below it ("feed:").
func (c *config) emptySection(key string) bool {
	return c.values.Get(key) == nil && slices.ContainsFunc(c.options, func(o option) bool {
		return strings.HasPrefix(o.key, key+".")
	})
}

// fromKubernetes reports whether a variable is one that Kubernetes adds to every container for a Service whose name
// starts with caravan (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
func fromKubernetes(name string) bool {
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.HasSuffix(name, "_SERVICE_PORT") ||
		strings.Contains(name, "_SERVICE_PORT_") || strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_PORT_")
}

// nearest returns the known key with the smallest edit distance to the given one. Separators between words do not
// count.
func (c *config) nearest(key string) string {
	plain := strings.NewReplacer(".", "_", "-", "_").Replace(key)
	best, fewest := "", -1
	for _, o := range c.options {
		if n := text.Distance(plain, strings.ReplaceAll(o.key, ".", "_")); fewest < 0 || n < fewest {
			best, fewest = o.key, n
		}
	}
	return best
}
