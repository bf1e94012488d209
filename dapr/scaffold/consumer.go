package scaffold

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"caravan/dapr/launcher"
)

// Asked is a consumer to add: in Service, for the events of a Type. UseCase is the name of the new use case; it may be empty.
type Asked struct{ Service, Type, UseCase string }

// consumer is a new consumer as its templates see it.
type consumer struct {
	Asked
	published
	Alias   string // of the producer's contract, in the code of the service
	Fields  string // of the use case
	Imports []string

	given string // the values of its fields in the assembly
}

// File is the place of the use case in the folder of the service, without .go.
func (c consumer) File() string { return "app/" + snake(c.UseCase) }

// useCasePattern is what the name of a use case must look like.
var useCasePattern = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{1,59}$`)

// Consumer returns what would be written for a new consumer of an event. It writes nothing.
func Consumer(root string, asked Asked) ([]Change, error) {
	apps, err := launcher.AppPorts(root)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(ids(apps), func(id string) bool { return id == "gateway" })
	producer, _, _ := strings.Cut(asked.Type, ".")
	switch {
	case !slices.Contains(names, asked.Service):
		return nil, refused("There is no service %q. The services are %s.", asked.Service, strings.Join(names, ", "))
	case !slices.Contains(names, producer):
		return nil, refused("%q is not the type of an event. It begins with a service, as orders.confirmed.v1; the services are %s.", asked.Type, strings.Join(names, ", "))
	case producer == asked.Service:
		return nil, refused("%s does not consume its own events.", asked.Service)
	case asked.UseCase != "" && !useCasePattern.MatchString(asked.UseCase):
		return nil, refused("%q is not a name for a use case: use a Go name such as ThankCustomer.", asked.UseCase)
	}
	event, err := findEvent(root, producer, asked.Type)
	if err != nil {
		return nil, err
	}
	c := consumer{Asked: asked, published: event}
	if c.UseCase == "" {
		c.UseCase = "Handle" + title(producer) + strings.TrimPrefix(event.Const, "Event")
	}
	if err := c.read(root); err != nil {
		return nil, err
	}
	return c.changes(root)
}

// folder is the folder of the service.
func (c consumer) folder() string { return "services/" + c.Service }

// byType is the beginning of the list of handlers, which ends with the next line that begins with "})".
var byType = regexp.MustCompile(`(event\.ByType\(map\[string\]event\.Handler\{\n(?:.*\n)*?)(\s*\}\),?)`)

// handled is an entry of that list, with the fields of the use case.
var handled = regexp.MustCompile(`(?m)^\s*[\w.]+:\s*app\.(\w+)(\{.*\})\.Do,$`)

// read finds in the assembly what the new use case gets: what the last one in the list of handlers has.
func (c *consumer) read(root string) error {
	file := c.folder() + "/assembly/assembly.go"
	raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return fmt.Errorf("reading how %s is put together: %w", c.Service, err)
	}
	source := string(raw)
	list := byType.FindString(source)
	switch {
	case !strings.Contains(source, "s.Consume("):
		return refused("%s consumes no events yet. docs/extending.md says what it needs first.", c.Service)
	case list == "":
		return refused("%s has one handler for all types of events: %s does not use event.ByType. Extend that handler.", c.Service, file)
	}
	c.Alias = c.Producer
	if of := regexp.MustCompile(`(\w+) "caravan/services/` + c.Producer + `/contract"`).FindStringSubmatch(source); of != nil {
		c.Alias = of[1]
	}
	if strings.Contains(list, c.Alias+"."+c.Const+":") {
		return refused("%s handles %s already: see %s.", c.Service, c.Type, file)
	}
	c.given = "{}"
	if entries := handled.FindAllStringSubmatch(list, -1); len(entries) > 0 {
		last := entries[len(entries)-1]
		c.given = last[2]
		return c.copyFields(root, last[1])
	}
	return nil
}

// changes are the new files and all edits.
func (c consumer) changes(root string) ([]Change, error) {
	var all []Change
	for _, kind := range []string{"", "_test"} {
		content, err := render("consumer/handler"+kind+".go.tmpl", c)
		if err != nil {
			return nil, err
		}
		all = append(all, Change{Path: c.folder() + "/" + c.File() + kind + ".go", Content: content, New: true})
	}
	if err := absent(root, all); err != nil {
		return nil, err
	}
	for _, place := range []struct {
		file string
		edit func(content string) (string, error)
	}{
		{c.folder() + "/assembly/assembly.go", c.listed},
		{c.folder() + "/contract/contract.go", c.producers},
		{"dapr/resources/subscriptions.yaml", c.subscribed},
		{"k8s/base/" + c.Producer + ".yaml", func(content string) (string, error) {
			if regexp.MustCompile(`operator: In, values: \[.*\b` + c.Service + `\b.*\]`).MatchString(content) {
				return content, nil
			}
			return allowed(content, c.Service)
		}},
		{"k8s/overlays/dapr/callers.yaml", func(content string) (string, error) {
			found, err := documentWith(content, "metadata: {name: "+c.Producer+"}")
			if err != nil || strings.Contains(found, "{appId: "+c.Service+",") {
				return content, err
			}
			return accepted(content, c.Producer, c.Service)
		}},
	} {
		change, err := edited(root, place.file, place.edit)
		if err != nil {
			return nil, err
		}
		if change.Content != change.old {
			all = append(all, change)
		}
	}
	return all, nil
}

// listed adds the use case to the list of handlers.
func (c consumer) listed(content string) (string, error) {
	entry := fmt.Sprintf("%s.%s: app.%s%s.Do,\n", c.Alias, c.Const, c.UseCase, c.given)
	content = byType.ReplaceAllString(content, "${1}"+strings.ReplaceAll(entry, "$", "$$")+"${2}")
	return formatted(imported(content, c.Alias, "caravan/services/"+c.Producer+"/contract"))
}

// producers adds the producer to those whose events the service gets.
func (c consumer) producers(content string) (string, error) {
	of := regexp.MustCompile(`(func Producers\(\) \[\]string \{ return \[\]string\{)(.*)(\} \})`).FindStringSubmatch(content)
	if of == nil {
		return "", fmt.Errorf("it has no func Producers in one line")
	}
	if strings.Contains(of[2], c.Alias+".App") {
		return content, nil
	}
	list := strings.TrimPrefix(of[2]+", "+c.Alias+".App", ", ")
	content = strings.Replace(content, of[0], of[1]+list+of[3], 1)
	return formatted(imported(content, c.Alias, "caravan/services/"+c.Producer+"/contract"))
}

// subscribed adds the subscription of the producer's topic, in the form of one that is there.
func (c consumer) subscribed(content string) (string, error) {
	if _, err := lineOf(content, "  name: "+c.Service+"-"+c.Producer); err == nil {
		return content, nil
	}
	if _, err := lineOf(content, "  name: "+c.Service+"-dead"); err != nil {
		return "", fmt.Errorf("%s has no subscription of its dead letters: %w", c.Service, err)
	}
	const topic = "users"
	found, err := documentWith(content, "  name: "+model+"-"+topic)
	if err != nil {
		return "", err
	}
	return content + separator + strings.NewReplacer(model, c.Service, topic, c.Producer).Replace(found), nil
}

// The places in a name where a new word begins: after a group of capitals, and after a small letter or digit.
var (
	afterCapitals = regexp.MustCompile(`([A-Z]+)([A-Z][a-z])`)
	afterSmall    = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// snake converts a name such as ThankCustomer to thank_customer.
func snake(name string) string {
	name = afterCapitals.ReplaceAllString(name, "${1}_${2}")
	return strings.ToLower(afterSmall.ReplaceAllString(name, "${1}_${2}"))
}
