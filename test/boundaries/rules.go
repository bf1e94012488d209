package boundaries

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Violation is one breach of one rule.
type Violation struct {
	Rule    string
	Package string
	Detail  string
}

// String returns a line for a report.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s (rule %q)", v.Package, v.Detail, v.Rule)
}

// Rule is one rule for the packages of the module.
type Rule struct {
	Name string
	// check returns the violations of a package, one line each.
	check func(Package) []string
}

// Rules are all rules, one a line.
var Rules = []Rule{
	{"a service imports another service only through its contract", throughContract},
	{"a contract imports only contracts, and no transport", contractAlone},
	{"the domain is pure: no adapter, sidecar, HTTP, telemetry, log, clock or randomness", pureDomain},
	{"the application layer imports no adapter, sidecar or HTTP", portsOnly},
	{"domain and application layer get time, randomness and ids passed in", nothingAmbient},
	{"text of a request body has a rule", textHasRule},
	{"internal imports nothing of services, gateway, dapr or test", internalBelow},
	{"the gateway imports no service but the contract of users", gatewayApart},
	{"a service imports nothing of the gateway, of dapr or of test", nothingAbove},
	{"a broker or store product is named only in dapr and test", noProduct},
}

// Check applies all rules to the packages.
func Check(packages []Package) []Violation {
	var violations []Violation
	for _, p := range packages {
		for _, rule := range Rules {
			for _, detail := range rule.check(p) {
				violations = append(violations, Violation{Rule: rule.Name, Package: p.Path, Detail: detail})
			}
		}
	}
	return violations
}

// serviceOf splits services/orders/app/saga into orders and app/saga.
func serviceOf(path string) (service, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, "services/")
	service, rest, _ = strings.Cut(path, "/")
	return service, rest, ok
}

// within reports whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// withinAny reports whether path is one of dirs or below it.
func withinAny(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return within(path, dir) })
}

// layer reports whether a package is in that layer of a service.
func layer(p Package, name string) bool {
	_, rest, ok := serviceOf(p.Path)
	return ok && within(rest, name)
}

// refuse returns the imports that a predicate refuses.
func refuse(imports []string, refused func(string) bool) []string {
	var details []string
	for _, path := range imports {
		if refused(path) {
			details = append(details, "imports "+path)
		}
	}
	return details
}

func throughContract(p Package) []string {
	own, _, ok := serviceOf(p.Path)
	if !ok {
		return nil
	}
	return refuse(p.imports(), func(path string) bool {
		other, rest, ok := serviceOf(path)
		return ok && other != own && !within(rest, "contract")
	})
}

func contractAlone(p Package) []string {
	if !layer(p, "contract") {
		return nil
	}
	return refuse(p.Imports, func(path string) bool {
		_, rest, ok := serviceOf(path)
		return ok && !within(rest, "contract") || withinAny(path, transport...)
	})
}

// transport are the packages that connect a program with the outside. Only adapters, assembly and main may use them.
var transport = []string{
	"internal/sidecar", "internal/service", "internal/telemetry", "internal/request",
	"github.com/dapr", "google.golang.org/grpc", "net/http", "net/rpc", "net/smtp", "database/sql",
}

// ambient are the packages that make two runs differ.
var ambient = []string{
	"math/rand", "crypto/rand", "internal/clock", "github.com/google/uuid", "os", "log", "syscall", "runtime",
	"go.opentelemetry.io", "github.com/prometheus", "github.com/spf13",
}

func pureDomain(p Package) []string {
	if !layer(p, "domain") {
		return nil
	}
	return refuse(p.Imports, func(path string) bool {
		_, rest, ok := serviceOf(path)
		return ok && !withinAny(rest, "domain", "contract") ||
			withinAny(path, transport...) || withinAny(path, ambient...) ||
			path == "net" || withinAny(path, "internal/feed", "internal/invoke", "internal/problem", "internal/correlation")
	})
}

func portsOnly(p Package) []string {
	if !layer(p, "app") && !layer(p, "audit") {
		return nil
	}
	return refuse(p.Imports, func(path string) bool {
		_, rest, ok := serviceOf(path)
		return ok && within(rest, "adapters") || withinAny(path, transport...)
	})
}

func internalBelow(p Package) []string {
	if !within(p.Path, "internal") {
		return nil
	}
	return refuse(p.imports(), func(path string) bool { return withinAny(path, "services", "gateway", "dapr", "test") })
}

func gatewayApart(p Package) []string {
	if !within(p.Path, "gateway") {
		return nil
	}
	return refuse(p.imports(), func(path string) bool {
		return within(path, "services") && path != "services/users/contract"
	})
}

func nothingAbove(p Package) []string {
	if !within(p.Path, "services") {
		return nil
	}
	return refuse(p.imports(), func(path string) bool {
		return withinAny(path, "gateway", "dapr", "test")
	})
}

// sources visits the files of a package in the order of their names.
func sources(p Package, tests bool, visit func(name string, source []byte)) {
	for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
		if tests || !strings.HasSuffix(name, "_test.go") {
			visit(name, p.Sources[name])
		}
	}
}
