package main

import (
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"caravan/internal/money"
	"caravan/services/products/domain"
)

// The demo catalogue is data that ships with the product: whatever the importer would refuse must not be in it.
func TestTheDemoCatalogueIsValid(t *testing.T) {
	file, err := os.Open("catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	header := []string{"sku", "name", "description", "category", "price", "currency", "stock"}
	if !slices.Equal(rows[0], header) {
		t.Fatalf("header is %v; want %v", rows[0], header)
	}
	skus, names, categories := map[string]bool{}, map[string]bool{}, map[string]int{}
	for i, row := range rows[1:] {
		price, err := money.Parse(row[4] + " " + row[5])
		if err != nil {
			t.Errorf("line %d: %v", i+2, err)
			continue
		}
		stock, err := strconv.ParseInt(row[6], 10, 64)
		if err != nil || stock < 1 {
			t.Errorf("line %d: stock %q is not a positive number", i+2, row[6])
		}
		draft := domain.Draft{SKU: row[0], Name: row[1], Description: row[2], Category: row[3], Price: price, InitialStock: stock}
		if err := draft.Check("EUR", time.Now()); err != nil {
			t.Errorf("line %d: %v", i+2, err)
		}
		if skus[row[0]] || names[row[1]] {
			t.Errorf("line %d repeats the SKU or name of another", i+2)
		}
		if len(row[2]) < 30 || !strings.HasSuffix(row[2], ".") {
			t.Errorf("line %d: the description %q is not a sentence", i+2, row[2])
		}
		skus[row[0]], names[row[1]] = true, true
		categories[row[3]]++
	}
	if len(skus) < 60 || len(categories) < 6 {
		t.Errorf("%d products in %d categories; want at least 60 in 6", len(skus), len(categories))
	}
}
