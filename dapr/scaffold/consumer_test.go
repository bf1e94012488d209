package scaffold

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withService is a copy of the project with the new service qreviews.
func withService(t *testing.T) string {
	t.Helper()
	to := copied(t)
	changes, err := Service(to, "qreviews")
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(to, changes); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestConsumer(t *testing.T) {
	to := withService(t)
	for _, step := range []struct {
		asked   Asked
		changed []string            // files
		has     map[string][]string // texts by file
	}{
		{
			Asked{"qreviews", "orders.confirmed.v1", "ThankCustomer"},
			[]string{
				"services/qreviews/app/thank_customer.go", "services/qreviews/app/thank_customer_test.go", "services/qreviews/assembly/assembly.go",
				"services/qreviews/contract/contract.go", "dapr/resources/subscriptions.yaml", "k8s/base/orders.yaml", "k8s/overlays/dapr/callers.yaml",
			},
			map[string][]string{
				"services/qreviews/app/thank_customer.go":      {"var data orders.Fact\n", "type ThankCustomer struct {\n\tCreate CreateEntry\n}"},
				"services/qreviews/app/thank_customer_test.go": {"Type: orders.EventConfirmed,"},
				"services/qreviews/assembly/assembly.go": {
					"\t\t\tusers.EventRegistered: app.WelcomeUser{Create: create}.Do,\n\t\t\torders.EventConfirmed: app.ThankCustomer{Create: create}.Do,\n\t\t}),",
					"\torders \"caravan/services/orders/contract\"\n",
				},
				"services/qreviews/contract/contract.go": {"return []string{users.App, orders.App}", "import (\n\torders "},
				"dapr/resources/subscriptions.yaml":      {"  name: qreviews-orders\nspec:\n  pubsubname: pubsub\n  topic: orders\n  routes:\n    default: /events/orders\n  deadLetterTopic: qreviews.dead\n"},
				"k8s/base/orders.yaml":                   {", notifications", ", qreviews]"},
				"k8s/overlays/dapr/callers.yaml": {
					"      - {appId: qreviews, namespace: caravan, trustDomain: public, defaultAction: allow}\n---\n" +
						"apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: payments}",
				},
			},
		},
		{ // a second event of the producer
			Asked{"qreviews", "orders.cancelled.v1", ""},
			[]string{"services/qreviews/app/handle_orders_cancelled.go", "services/qreviews/app/handle_orders_cancelled_test.go", "services/qreviews/assembly/assembly.go"},
			map[string][]string{
				"services/qreviews/app/handle_orders_cancelled.go": {"type HandleOrdersCancelled struct {\n\tCreate CreateEntry\n}"},
				"services/qreviews/assembly/assembly.go":           {"orders.EventCancelled:  app.HandleOrdersCancelled{Create: create}.Do,\n\t\t}),"},
			},
		},
		{ // a producer with one caller
			Asked{"qreviews", "products.stock_corrected.v1", ""},
			[]string{
				"services/qreviews/app/handle_products_stock_corrected.go", "services/qreviews/app/handle_products_stock_corrected_test.go",
				"services/qreviews/assembly/assembly.go", "services/qreviews/contract/contract.go", "dapr/resources/subscriptions.yaml",
				"k8s/base/products.yaml", "k8s/overlays/dapr/callers.yaml",
			},
			map[string][]string{"services/qreviews/app/handle_products_stock_corrected.go": {"var data products.StockCorrected\n"}},
		},
	} {
		changes, err := Consumer(to, step.asked)
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		for _, c := range changes {
			files = append(files, c.Path)
			for _, text := range step.has[c.Path] {
				if squeezed := strings.Join(strings.Fields(c.Content), " "); !strings.Contains(squeezed, strings.Join(strings.Fields(text), " ")) {
					t.Errorf("%s: %s lacks\n%s\nit is\n%s", step.asked.Type, c.Path, text, c.Content)
				}
			}
			if filepath.Ext(c.Path) == ".go" {
				if _, err := parser.ParseFile(token.NewFileSet(), c.Path, c.Content, 0); err != nil {
					t.Error(err)
				}
			}
		}
		if !slices.Equal(files, step.changed) {
			t.Errorf("%s changes %q; want %q", step.asked.Type, files, step.changed)
		}
		if err := Apply(to, changes); err != nil {
			t.Fatal(err)
		}
		if _, err := Consumer(to, step.asked); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("%s a second time: %v", step.asked.Type, err)
		}
	}
}

// Every event of the project is found with its payload.
func TestPayloads(t *testing.T) {
	to := withService(t)
	for typ, want := range map[string]string{
		"users.registered.v1": "Registered", "users.sessions_revoked.v1": "SessionsRevoked", "products.created.v1": "ProductCreated",
		"products.stock_corrected.v1": "StockCorrected", "orders.placed.v1": "Fact", "orders.retried.v1": "Fact",
		"payments.deposited.v1": "Moved", "payments.deposit_pending.v1": "Moved", "qreviews.created.v1": "Created",
	} {
		producer, _, _ := strings.Cut(typ, ".")
		if got, err := findEvent(to, producer, typ); err != nil || got.Payload != want {
			t.Errorf("%s has the payload %q, %v; want %q", typ, got.Payload, err, want)
		}
	}
	if got := payload(nil, "EventMade says that it is made."); got != "" {
		t.Errorf("an event without a payload has %q", got)
	}
}

func TestConsumerRefuses(t *testing.T) {
	to := withService(t)
	for name, c := range map[string]struct {
		asked Asked
		want  string
	}{
		"no service":          {Asked{Service: "qratings", Type: "orders.confirmed.v1"}, `There is no service "qratings". The services are users, `},
		"the gateway":         {Asked{Service: "gateway", Type: "orders.confirmed.v1"}, `There is no service "gateway"`},
		"no producer":         {Asked{Service: "qreviews", Type: "qratings.made.v1"}, `"qratings.made.v1" is not the type of an event`},
		"no event":            {Asked{Service: "qreviews", Type: "orders.shipped.v1"}, `orders has no event "orders.shipped.v1". Its events are orders.authorized.v1, `},
		"another version":     {Asked{Service: "qreviews", Type: "orders.confirmed.v2"}, "Its events are"},
		"its own event":       {Asked{Service: "qreviews", Type: "qreviews.created.v1"}, "does not consume its own events"},
		"a bad name":          {Asked{"qreviews", "orders.confirmed.v1", "thank-customer"}, "is not a name for a use case"},
		"an event it handles": {Asked{Service: "qreviews", Type: "users.registered.v1"}, "qreviews handles users.registered.v1 already"},
		"a use case it has":   {Asked{"qreviews", "orders.confirmed.v1", "WelcomeUser"}, "services/qreviews/app/welcome_user.go exists already"},
		"one handler for all": {Asked{Service: "notifications", Type: "products.created.v1"}, "notifications has one handler for all types"},
		"no events at all":    {Asked{Service: "products", Type: "orders.confirmed.v1"}, "products consumes no events yet"},
	} {
		if changes, err := Consumer(to, c.asked); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d changes, %v; want %q", name, len(changes), err, c.want)
		}
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{"ThankCustomer": "thank_customer", "HandleSKUChanged": "handle_sku_changed", "HandleXY": "handle_xy", "Do2Things": "do2_things"} {
		if got := snake(name); got != want {
			t.Errorf("%s is %s; want %s", name, got, want)
		}
	}
}
