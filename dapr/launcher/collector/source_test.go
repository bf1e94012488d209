package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"caravan/dapr/records"
)

func TestAddressesAndTokensAreMasked(t *testing.T) {
	source := &source{instance: "orders", id: "f"}
	out := source.appendLine(nil, logged{text: []byte(`{"msg":"no ada@caravan.example","path":"/x/ada@caravan.example","h":"Bearer abc"}`), offset: 3}, time.Now())
	if strings.Contains(string(out), "ada") || strings.Contains(string(out), "abc") {
		t.Errorf("stored as %s", out)
	}
	row := records.ParseLine("orders", string(bytes.TrimSpace(out)))
	if row.Line == "" {
		t.Errorf("%s is no JSON", out)
	}
}
