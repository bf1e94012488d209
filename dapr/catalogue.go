package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"caravan/dapr/catalogue"
	"caravan/dapr/client"
	"caravan/internal/money"
	"caravan/internal/text"
	"caravan/services/products/domain"
)

// readCatalogue reads a file with the rules of the products service, for a shop that sells in the currency.
func readCatalogue(r io.Reader, currency string) (*catalogue.File, error) {
	return catalogue.Read(r, func(row catalogue.Row) (catalogue.Row, []catalogue.Fault) {
		row.Name, row.Description = clean(text.Line, row.Name), clean(text.Multiline, row.Description)
		var broken domain.Violations
		errors.As(domain.Draft{
			SKU: row.SKU, Name: row.Name, Description: row.Description, Category: row.Category, Price: row.Price, InitialStock: row.Stock,
		}.Check(currency, time.Now()), &broken)
		faults := make([]catalogue.Fault, len(broken))
		for i, violation := range broken {
			faults[i] = faultOf(violation, currency)
		}
		return row, faults
	})
}

// clean returns a text in the form in which the service stores it, or unchanged if the service would refuse it.
func clean(rule text.Rule, s string) string {
	if cleaned, err := rule.Clean(s, 0); err == nil {
		return cleaned
	}
	return s
}

// faultOf converts a fault of the service's request into a fault of the file.
func faultOf(violation domain.Violation, currency string) catalogue.Fault {
	switch violation.Field {
	case "price.currency":
		return catalogue.Fault{Field: "currency", What: violation.Message}
	case "price.amount": // the file has no minor units
		return catalogue.Fault{Field: "price", What: fmt.Sprintf("must be from %s to %s", money.New(1, currency), money.New(domain.MaxPrice, currency))}
	}
	return catalogue.Fault{Field: violation.Field, What: violation.Message}
}

// draftOf returns the request that creates the product of a row.
func draftOf(row catalogue.Row) client.NewProduct {
	return client.NewProduct{
		SKU: row.SKU, Name: row.Name, Description: row.Description, Category: row.Category, Price: row.Price, Stock: row.Stock,
	}
}

// lineList returns the lines of the rows in short form: "2 to 9, 12".
func lineList(rows []catalogue.Row) string {
	spans := make([]catalogue.Lines, 0, len(rows))
	for _, row := range rows {
		spans = append(spans, row.Lines)
	}
	slices.SortFunc(spans, func(a, b catalogue.Lines) int { return a.First - b.First })
	var parts []string
	for i := 0; i < len(spans); {
		span := spans[i]
		for i++; i < len(spans) && spans[i].First == span.Last+1; i++ {
			span.Last = spans[i].Last
		}
		_, name, _ := strings.Cut(span.String(), " ")
		parts = append(parts, name)
	}
	return strings.Join(parts, ", ")
}
