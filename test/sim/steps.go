package sim

import (
	"encoding/json"
	"fmt"
	"strings"

	"caravan/internal/audit"
	checks "caravan/services/payments/audit"
	payments "caravan/services/payments/domain"
	products "caravan/services/products/domain"
)

// steps checks every single revision of stocks and wallets when it is written. Only this finds an invariant that is
// broken for a moment and repaired before the audit.
type steps struct {
	revisions int
	results   audit.Results
}

// watch checks what is written to the store of an app.
func (s *steps) watch(app string) func(key string, value []byte) {
	switch app {
	case "products":
		return func(key string, value []byte) {
			if sku, ok := strings.CutPrefix(key, "stock/"); ok && !strings.Contains(sku, "/") {
				check(s, key, value, products.AuditStock)
			}
		}
	case "payments":
		return func(key string, value []byte) {
			if user, ok := strings.CutPrefix(key, payments.AccountPrefix); ok && !strings.Contains(user, "/") {
				check(s, key, value, checks.CheckAccount)
			}
		}
	}
	return func(string, []byte) {}
}

func check[T any](s *steps, key string, value []byte, inspect func(*audit.Results, *T)) {
	s.revisions++
	doc := new(T)
	if s.results.Check(json.Unmarshal(value, doc) == nil, "document-readable", key, "%.80s", value) {
		inspect(&s.results, doc)
	}
}

// violations are the first few violations that were found.
func (s *steps) violations() []string {
	var found []string
	for _, f := range s.results.Findings[:min(len(s.results.Findings), 10)] {
		found = append(found, fmt.Sprintf("at a step: %s: %s: %s", f.Invariant, f.Key, f.Detail))
	}
	return found
}
