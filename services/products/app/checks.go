package app

import (
	"fmt"
	"time"

	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// checkReserve returns [domain.Violations] for a command that orders should never have sent.
func checkReserve(c contract.Reserve) error {
	violations := checkOrder(c.OrderID, c.PlacedAt)
	if n := len(c.Lines); n < 1 || n > contract.MaxLines {
		violations = append(violations, domain.Violation{Field: "lines", Code: "size", Message: fmt.Sprintf("must be 1 to %d", contract.MaxLines)})
	}
	seen := make(map[string]bool, len(c.Lines))
	for i, line := range c.Lines {
		field := fmt.Sprintf("lines[%d]", i)
		violations = append(violations, checkSKU(field+".sku", line.SKU, seen)...)
		if line.Quantity < 1 || line.Quantity > contract.MaxQuantity {
			violations = append(violations, domain.Violation{Field: field + ".quantity", Code: "range", Message: fmt.Sprintf("must be 1 to %d", contract.MaxQuantity)})
		}
	}
	return asError(violations)
}

// checkEnd is checkReserve for a commit or release.
func checkEnd(orderID string, skus []string, placedAt time.Time) error {
	violations := checkOrder(orderID, placedAt)
	if n := len(skus); n < 1 || n > contract.MaxLines {
		violations = append(violations, domain.Violation{Field: "skus", Code: "size", Message: fmt.Sprintf("must be 1 to %d", contract.MaxLines)})
	}
	seen := make(map[string]bool, len(skus))
	for i, sku := range skus {
		violations = append(violations, checkSKU(fmt.Sprintf("skus[%d]", i), sku, seen)...)
	}
	return asError(violations)
}

func checkOrder(orderID string, placedAt time.Time) domain.Violations {
	var violations domain.Violations
	if !id.Plain(orderID) {
		violations = append(violations, domain.Violation{Field: "orderId", Code: "pattern", Message: "must be 1 to 64 letters, digits, dots, underscores and hyphens"})
	}
	if !clock.Acceptable(placedAt) {
		violations = append(violations, domain.Violation{Field: "placedAt", Code: "time", Message: clock.ErrTime.Error()})
	}
	return violations
}

// checkSKU refuses repeats only. A text that cannot be a SKU is an unknown product, which is an outcome.
func checkSKU(field, sku string, seen map[string]bool) domain.Violations {
	if seen[sku] {
		return domain.Violations{{Field: field, Code: "unique", Message: "appears more than once"}}
	}
	seen[sku] = true
	return nil
}

func asError(violations domain.Violations) error {
	if len(violations) == 0 {
		return nil
	}
	return violations
}
