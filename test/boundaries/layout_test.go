package boundaries

import (
	"slices"
	"strings"
	"testing"
)

// unfinished are the services that do not have the common layout yet.
var unfinished []string // such as "payments"

// TestLayouts checks the layouts of all services.
func TestLayouts(t *testing.T) {
	packages, err := List("../..")
	if err != nil {
		t.Fatal(err)
	}
	services, wrong := make(map[string]bool), make(map[string]bool)
	for _, p := range packages {
		if service, _, ok := serviceOf(p.Path); ok {
			services[service] = true
		}
	}
	if len(services) < 5 {
		t.Fatalf("only %d services listed: the rules would hold for nothing", len(services))
	}
	for _, v := range Layouts(packages) {
		service := strings.TrimPrefix(v.Package, "services/")
		if wrong[service] = true; !slices.Contains(unfinished, service) {
			t.Error(v)
		}
	}
	for _, service := range unfinished {
		if !wrong[service] {
			t.Errorf("%s has the common layout: take it out of the list of unfinished services", service)
		}
	}
}

// shop returns the files of a service with the common layout, by path.
func shop() map[string]string {
	return map[string]string{
		"main.go":                       "package main",
		"contract/contract.go":          "package contract",
		"domain/order.go":               "package domain",
		"audit/audit.go":                "package audit",
		"assembly/assembly.go":          "package assembly\nfunc Build(s *S) { s.Background(\"sweep\", nil) }",
		"adapters/http.go":              "package adapters\ntype API struct{}\nfunc (a API) Register(s R) { s.Public(\"GET /v1/orders\", nil); s.Internal(\"POST /internal/x\", nil) }",
		"adapters/problems.go":          "package adapters\nfunc problemOf(err error) error { return problem.Conflict(\"a\", \"b\") }",
		"adapters/orders.go":            "package adapters\nvar err = problem.Invalid(problem.FieldError{Field: \"x\"})",
		"adapters/bank/bank.go":         "package bank",
		"app/place_order.go":            "package app\ntype PlaceOrder struct{}\ntype Placement struct{}\ntype PriceError struct{}\nfunc (*PriceError) Error() string { return \"\" }\nfunc (u PlaceOrder) Do() { u.store() }\nfunc (PlaceOrder) store() {}",
		"app/list_sku_prices.go":        "package app\ntype ListSKUPrices struct{}\nfunc (u *ListSKUPrices) Do() {}",
		"app/driver.go":                 "package app\ntype Driver struct{}\nfunc (d *Driver) Run() {}\nfunc (d *Driver) Start() {}",
		"app/place_order_test.go":       "package app\nfunc (u fake) Do() {}",
		"adapters/http_test.go":         "package adapters\nfunc f(s R) { s.Public(\"GET /test\", nil) }",
		"adapters/bank/testbank_aux.go": "package bank\ntype Bank struct{}\nfunc (Bank) Do() {}",
	}
}

// packagesOf makes the packages of a service from its files.
func packagesOf(files map[string]string) []Package {
	byPath := make(map[string]Package)
	for name, source := range files {
		folder, file := "services/shop", name
		if i := strings.LastIndex(name, "/"); i >= 0 {
			folder, file = folder+"/"+name[:i], name[i+1:]
		}
		p, ok := byPath[folder]
		if !ok {
			p = Package{Path: folder, Sources: make(map[string][]byte)}
			byPath[folder] = p
		}
		p.Sources[file] = []byte(source)
	}
	var packages []Package
	for _, p := range byPath {
		packages = append(packages, p)
	}
	return packages
}

// TestPlantedLayouts shows that each rule finds its violations, and nothing else.
func TestPlantedLayouts(t *testing.T) {
	if found := Layouts(packagesOf(shop())); len(found) > 0 {
		t.Fatalf("found in a service with the common layout: %v", found)
	}
	proven := make(map[string]bool)
	for _, plant := range []struct {
		name, file, source string // an empty source removes the file
		rule, detail       string
	}{
		{"another folder", "queries/list.go", "package queries", ruleFolders, "queries"},
		{"a folder below app", "app/saga/saga.go", "package saga", ruleFolders, "app/saga"},
		{"no main", "main.go", "", ruleFiles, "main.go"},
		{"no list of routes", "adapters/http.go", "", ruleFiles, "adapters/http.go"},
		{"no audit", "audit/audit.go", "", ruleFiles, "audit/audit.go"},
		{"no root", "assembly/assembly.go", "", ruleFiles, "assembly/assembly.go"},
		{"no contract", "contract/contract.go", "", ruleFiles, "contract/contract.go"},
		{"a file that is no Go", "app/broken.go", "package", ruleFiles, "cannot be parsed"},
		{"a route in the root", "assembly/assembly.go", "package assembly\nfunc Build(s *S) { s.Internal(\"POST /internal/x\", nil) }", ruleRoutes, "assembly/assembly.go calls Internal"},
		{"a route beside its handler", "adapters/orders.go", "package adapters\nfunc f(s R) { s.Long(\"GET /v1/stream\", nil) }", ruleRoutes, "adapters/orders.go calls Long"},
		{"a use case that makes a problem", "app/place_order.go", "package app\ntype PlaceOrder struct{}\nfunc (PlaceOrder) Do() error { return problem.Unprocessable(\"a\", \"b\") }", ruleProblems, "problem.Unprocessable"},
		{"a handler that makes a problem", "adapters/orders.go", "package adapters\nvar err = problem.Conflict(\"a\", \"b\")", ruleProblems, "problem.Conflict"},
		{"problems and no file for them", "adapters/problem.go", "package adapters\nvar err = problem.New(1, \"a\", \"b\", \"c\")", ruleProblems, "adapters/problem.go"},
		{"a use case in a file of another name", "app/placing.go", "package app\ntype Place struct{}\nfunc (Place) Do() {}", ruleUseCases, "not in app/place.go"},
		{"two use cases in a file", "app/place_order.go", "package app\ntype PlaceOrder struct{}\nfunc (PlaceOrder) Do() {}\ntype Place struct{}\nfunc (*Place) Do() {}", ruleUseCases, "the types Place, PlaceOrder"},
		{"a use case with two methods", "app/place_order.go", "package app\ntype PlaceOrder struct{}\nfunc (PlaceOrder) Do() {}\nfunc (PlaceOrder) Again() {}", ruleUseCases, "the methods Again, Do"},
		{"a method of a use case in another file", "app/again.go", "package app\nfunc (PlaceOrder) Again() {}", ruleUseCases, "the methods Again, Do"},
		{"a worker beside a use case", "app/place_order.go", "package app\ntype PlaceOrder struct{}\nfunc (PlaceOrder) Do() {}\ntype Sweep struct{}\nfunc (Sweep) Run() {}", ruleUseCases, "the types PlaceOrder, Sweep"},
	} {
		t.Run(plant.name, func(t *testing.T) {
			files := shop()
			if files[plant.file] = plant.source; plant.source == "" {
				delete(files, plant.file)
			}
			found := Layouts(packagesOf(files))
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == plant.rule && strings.Contains(v.Detail, plant.detail) }) {
				t.Fatalf("not found; reported: %v", found)
			}
			for _, v := range found {
				if v.Rule != plant.rule {
					t.Errorf("also reported: %v", v)
				}
				proven[v.Rule] = true
			}
		})
	}
	for _, rule := range LayoutRules {
		if !proven[rule] {
			t.Errorf("no planted violation proves the rule %q", rule)
		}
	}
}
