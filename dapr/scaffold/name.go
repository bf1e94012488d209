package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// namePattern is what a name must look like. It becomes an app id, a Go package path, a host name and a part of paths.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]{1,19}$`)

// reservedNames are names that something else in the project has: programs, containers, networks, folders of a service, and
// paths at the gateway. Keywords and predeclared words of Go are refused too.
var reservedNames = []string{
	"broker", "store", "gateway", "seed", "backbone", "edge", "dapr", "daprd", "embeddedbroker", "console", "mail", "caravan",
	"service", "services", "internal", "test", "main", "contract", "domain", "app", "audit", "adapters", "assembly",
	"ops", "breakers", "wallet", "sessions", "livez", "readyz", "healthz", "dead", "pubsub", "resiliency", "subscriptions", "sidecar",
	"context", "fmt", "slices", "errors", "time",
	"break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "for", "func", "go", "goto", "if",
	"import", "interface", "map", "package", "range", "return", "select", "struct", "switch", "type", "var",
	"any", "append", "bool", "byte", "cap", "clear", "close", "comparable", "complex", "copy", "delete", "error", "false", "imag",
	"int", "iota", "len", "make", "max", "min", "new", "nil", "panic", "print", "println", "real", "recover", "rune", "string",
	"true", "uint",
}

// checkName returns why a service cannot have a name.
func checkName(root, name string, apps []string) error {
	switch {
	case !namePattern.MatchString(name):
		return refused("%q is not a name for a service: use 2 to 20 lower case letters and digits, and begin with a letter.", name)
	case slices.Contains(reservedNames, name):
		return refused("The name %q is reserved. Choose another one.", name)
	case slices.Contains(apps, name):
		return refused("There is a service %q already: dapr/dapr.yaml lists it.", name)
	}
	if _, err := os.Stat(filepath.Join(root, "services", name)); err == nil {
		return fmt.Errorf("the folder services/%s exists already, and dapr/dapr.yaml does not list it: remove what is left of an earlier attempt", name)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("looking for the service: %w", err)
	}
	return nil
}

// title is a name as a part of Go identifiers and of schemas.
func title(name string) string { return strings.ToUpper(name[:1]) + name[1:] }
