package boundaries

import (
	"slices"
	"strings"
	"testing"
)

// TestModule checks all rules on the module.
func TestModule(t *testing.T) {
	packages, err := List("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 20 {
		t.Fatalf("only %d packages listed: the rules would hold for nothing", len(packages))
	}
	for _, violation := range Check(packages) {
		t.Error(violation)
	}
}

// planted are packages that break one rule each, beside correct packages.
var planted = []struct {
	name string
	pkg  Package
	// rule is a part of the name of the one broken rule, or "" for none.
	rule string
	// detail is a part of the violation's text.
	detail string
}{
	{"another service's domain", Package{Path: "services/orders/app", Imports: []string{"services/payments/domain"}}, "only through its contract", "services/payments/domain"},
	{"another service's root", Package{Path: "services/orders", Imports: []string{"services/payments"}}, "only through its contract", "services/payments"},
	{"another service's domain in a test", Package{Path: "services/orders/app", TestImports: []string{"services/payments/domain"}}, "only through its contract", "services/payments/domain"},
	{"a package beside the contract", Package{Path: "services/orders/app", Imports: []string{"services/payments/contractor"}}, "only through its contract", "contractor"},
	{"another service's contract", Package{Path: "services/orders/app", Imports: []string{"services/payments/contract"}}, "", ""},
	{"its own domain", Package{Path: "services/orders/app", Imports: []string{"services/orders/domain"}}, "", ""},

	{"a contract that shows the domain", Package{Path: "services/orders/contract", Imports: []string{"services/orders/domain"}}, "a contract imports only", "services/orders/domain"},
	{"a contract over the sidecar", Package{Path: "services/orders/contract", Imports: []string{"internal/sidecar"}}, "a contract imports only", "internal/sidecar"},
	{"a contract over the invoker", Package{Path: "services/orders/contract", Imports: []string{"internal/invoke", "services/users/contract"}}, "", ""},

	{"a domain with its adapters", Package{Path: "services/orders/domain", Imports: []string{"services/orders/adapters/store"}}, "the domain is pure", "adapters"},
	{"a domain with its use cases", Package{Path: "services/orders/domain", Imports: []string{"services/orders/app"}}, "the domain is pure", "services/orders/app"},
	{"a domain on Dapr", Package{Path: "services/orders/domain", Imports: []string{"github.com/dapr/go-sdk/client"}}, "the domain is pure", "dapr"},
	{"a domain on HTTP", Package{Path: "services/orders/domain", Imports: []string{"net/http"}}, "the domain is pure", "net/http"},
	{"a domain that traces", Package{Path: "services/orders/domain", Imports: []string{"go.opentelemetry.io/otel/trace"}}, "the domain is pure", "opentelemetry"},
	{"a domain that logs", Package{Path: "services/orders/domain", Imports: []string{"log/slog"}}, "the domain is pure", "log/slog"},
	{"a domain that throws dice", Package{Path: "services/orders/domain/price", Imports: []string{"math/rand/v2"}}, "the domain is pure", "math/rand/v2"},
	{"a domain with a clock", Package{Path: "services/orders/domain", Imports: []string{"internal/clock"}}, "the domain is pure", "internal/clock"},
	{"a pure domain", Package{Path: "services/orders/domain", Imports: []string{"time", "errors", "net/mail", "internal/money", "internal/document", "services/orders/contract"}, TestImports: []string{"math/rand/v2"}}, "", ""},

	{"use cases on adapters", Package{Path: "services/orders/app", Imports: []string{"services/orders/adapters/rest"}}, "application layer imports no adapter", "adapters/rest"},
	{"use cases on HTTP", Package{Path: "services/orders/app", Imports: []string{"net/http"}}, "application layer imports no adapter", "net/http"},
	{"an audit on HTTP", Package{Path: "services/orders/audit", Imports: []string{"net/http"}}, "application layer imports no adapter", "net/http"},
	{"use cases on the sidecar", Package{Path: "services/orders/app", Imports: []string{"internal/sidecar"}}, "application layer imports no adapter", "internal/sidecar"},
	{"adapters on the sidecar", Package{Path: "services/orders/adapters/rest", Imports: []string{"internal/sidecar", "net/http"}}, "", ""},

	{"a body with free text", source("services/orders/adapters", "type b struct{ R []item }\ntype item struct { Note *string `json:\"note\"` }\nfunc f() { var x b; request.Decode(r, &x) }"), "has a rule", "note is text"},
	{"a body with text of another length only", source("services/orders/adapters", "func f() { var x struct { R string `json:\"r\" validate:\"max=5\"` }; request.DecodeOptional(r, &x) }"), "has a rule", "r is text"},
	{"a body whose text has rules", source("services/orders/adapters", "type b struct { R string `json:\"r\" validate:\"required,line,max=5\"`; N int; S []string `json:\"s\" validate:\"dive,sku\"` }\nfunc f() { var x b; request.Decode(r, &x) }\ntype answer struct { T string }"), "", ""},
	{"a domain that looks at the clock", source("services/orders/domain", "import \"time\"\nvar at = time.Now()"), "passed in", "time.Now"},
	{"an audit that sleeps", source("services/orders/audit", "import \"time\"\nfunc f() { time.Sleep(1) }"), "passed in", "time.Sleep"},
	{"use cases that sleep", source("services/orders/app", "import \"time\"\nfunc f() { time.Sleep(1) }"), "passed in", "time.Sleep"},
	{"use cases with a renamed clock", source("services/orders/app", "import t \"time\"\nvar at = t.Now()"), "passed in", "time.Now"},
	{"use cases that pass the clock on", source("services/orders/app", "import \"time\"\nvar now = time.Now"), "passed in", "time.Now"},
	{"use cases that throw dice", source("services/orders/app", "import \"math/rand/v2\"\nvar n = rand.IntN(6)"), "passed in", "math/rand/v2.IntN"},
	{"use cases that make ids", source("services/orders/app", "import \"github.com/google/uuid\"\nvar id = uuid.NewString()"), "passed in", "uuid.NewString"},
	{"time as a type", source("services/orders/domain", "import \"time\"\nfunc f(at time.Time) time.Time { return at.Add(time.Second) }"), "", ""},
	{"somebody else's Now", source("services/orders/app", "type clock interface{ Now() int }\nfunc f(time clock) int { return time.Now() }"), "", ""},
	{"an adapter that looks at the clock", source("services/orders/adapters/bank", "import \"time\"\nvar at = time.Now()"), "", ""},

	{"internal on a contract", Package{Path: "internal/feed", Imports: []string{"services/orders/contract"}}, "internal imports nothing", "services/orders/contract"},
	{"a test of internal on a service", Package{Path: "internal/feed", TestImports: []string{"services/orders/domain"}}, "internal imports nothing", "services/orders/domain"},
	{"internal on the launcher", Package{Path: "internal/service", Imports: []string{"dapr/launcher"}}, "internal imports nothing", "dapr/launcher"},
	{"internal on the gateway", Package{Path: "internal/feed", Imports: []string{"gateway/route"}}, "internal imports nothing", "gateway/route"},

	{"a gateway that knows orders", Package{Path: "gateway/proxy", Imports: []string{"services/orders/contract"}}, "the gateway imports no service", "services/orders/contract"},
	{"a gateway that knows the inside of users", Package{Path: "gateway", Imports: []string{"services/users/domain"}}, "the gateway imports no service", "services/users/domain"},
	{"a gateway that knows permissions", Package{Path: "gateway/auth", Imports: []string{"services/users/contract"}}, "", ""},

	{"a service that starts stacks", Package{Path: "services/orders/adapters/rest", TestImports: []string{"dapr/launcher"}}, "imports nothing of the gateway", "dapr/launcher"},
	{"a service behind the gateway", Package{Path: "services/orders", Imports: []string{"gateway/route"}}, "imports nothing of the gateway", "gateway/route"},

	{"a broker in a string", source("services/orders/adapters/rest", "var u = \"amqp://127.0.0.1\""), "broker or store product", "amqp"},
	{"a store in a name", source("internal/service", "func openSQLite() {}"), "broker or store product", "SQLite"},
	{"a store in a raw string", source("gateway", "var s = `PostgreSQL`"), "broker or store product", "Postgre"},
	{"a broker in a comment", source("services/orders/app", "// Kafka keeps the order.\nvar x = 1"), "broker or store product", "Kafka"},
	{"a store in a test", test("internal/service", "var s = \"redis\""), "broker or store product", "redis"},
	{"a comment that explains", source("internal/document", "// Redis restarts its ETags.\nvar x = 1"), "", ""},
	{"code beside the explanation", source("internal/document", "var x = \"redis\""), "broker or store product", "redis"},
	{"the launcher", source("dapr/launcher/broker", "var x = \"rabbitmq\""), "", ""},
	{"the command line", source("dapr", "var x = \"kafka\""), "", ""},
}

// TestPlanted shows that each rule finds its violations, and nothing else.
func TestPlanted(t *testing.T) {
	found := make(map[string]bool)
	for _, plant := range planted {
		t.Run(plant.name, func(t *testing.T) {
			violations := Check([]Package{plant.pkg})
			if plant.rule == "" {
				if len(violations) > 0 {
					t.Fatalf("found in a correct package: %v", violations)
				}
				return
			}
			of := func(v Violation) bool {
				return strings.Contains(v.Rule, plant.rule) && strings.Contains(v.Detail, plant.detail) && v.Package == plant.pkg.Path
			}
			if !slices.ContainsFunc(violations, of) {
				t.Fatalf("not found; reported: %v", violations)
			}
			for _, v := range violations {
				found[v.Rule] = true
			}
		})
	}
	for _, rule := range Rules {
		if !found[rule.Name] {
			t.Errorf("no planted violation proves the rule %q", rule.Name)
		}
	}
}

func source(path, body string) Package {
	return Package{Path: path, Sources: map[string][]byte{"planted.go": []byte("package planted\n" + body + "\n")}}
}

func test(path, body string) Package {
	return Package{Path: path, Sources: map[string][]byte{"planted_test.go": []byte("package planted\n" + body + "\n")}}
}
