package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSeedNamesTheVariableThatIsMissing(t *testing.T) {
	for missing, want := range map[string]string{
		"ADMIN_PASSWORD": "the admin's password, ADMIN_PASSWORD", "STAFF_PASSWORD": "the staff's password, STAFF_PASSWORD",
		"CUSTOMER_PASSWORD": "the customer's password, CUSTOMER_PASSWORD",
	} {
		for _, role := range roles {
			t.Setenv(passwordVariable(role), "a-password")
		}
		t.Setenv(missing, "")
		status, _, stderr := invoke(t, "seed", "--gateway", "http://127.0.0.1:1")
		if status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("without %s: status %d, said %q", missing, status, stderr)
		}
	}
}

func TestAnOrderWithoutStockFails(t *testing.T) {
	withoutPasswords(t)
	const sold = `{"items":[{"sku":"MUG","price":{"amount":100,"currency":"EUR"},"available":0}],"currency":"EUR"}`
	for name, products := range map[string]string{"an empty shop": `{"items":[],"currency":"EUR"}`, "all is sold": sold} {
		gateway := gatewayWith(t, "customer@caravan.example", "right", map[string]string{"GET /v1/products": products})
		composeRepository(t, "CUSTOMER_PASSWORD=right\nCARAVAN_PORT="+gateway[strings.LastIndex(gateway, ":")+1:]+"\n")
		t.Setenv("CUSTOMER_PASSWORD", "right")
		for _, test := range []struct {
			args []string
			want string
		}{
			{[]string{"--target", "compose"}, `the container "seed" may still be filling the shop`},
			{[]string{"--gateway", gateway}, "go run ./dapr seed --gateway " + gateway},
		} {
			status, out, stderr := invoke(t, append([]string{"order"}, test.args...)...)
			if status != exitFailure || !strings.Contains(stderr, "nothing is in stock, so no order was placed") || !strings.Contains(stderr, test.want) || out != "" {
				t.Errorf("%s, %v: status %d, said %q, %q, want %q", name, test.args, status, out, stderr, test.want)
			}
		}
	}
	local := &cli{root: "/r", dir: "/r/.dapr"}
	if err := local.adviseStock(errNothingInStock); !strings.HasSuffix(err.Error(), "with: go run ./dapr seed") {
		t.Error(err)
	}
}

func TestSeedSaysWhatItPaysIn(t *testing.T) {
	withoutPasswords(t)
	root := composeRepository(t, "A=1")
	if err := os.MkdirAll(filepath.Join(root, "services", "products"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "services", "products", "catalogue.csv"), []byte(csvHeader), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		t.Setenv(passwordVariable(role), "right")
	}
	for _, test := range []struct {
		has  int
		pays bool
	}{{0, true}, {499_99, true}, {500_00, false}} {
		wallet := fmt.Sprintf(`{"available":{"amount":%d,"currency":"EUR"}}`, test.has)
		gateway := gatewayWith(t, "@caravan.example", "right", map[string]string{
			"GET /v1/products": `{"items":[],"currency":"EUR"}`, "GET /v1/wallet": wallet, "POST /v1/wallet/deposits": `{}`,
		})
		status, out, stderr := invoke(t, "seed", "--gateway", gateway)
		says := strings.Contains(out, "2500.00 EUR were paid in for customer@caravan.example, who had less than 500.00 EUR.")
		if status != exitOK || says != test.pays {
			t.Errorf("with %d: status %d, said %q, %q", test.has, status, out, stderr)
		}
	}
	if _, out, _ := invoke(t, "help", "seed"); !strings.Contains(out, lowWallet.String()) || !strings.Contains(out, topUp.String()) {
		t.Errorf("the help of seed says %q", out)
	}
}
