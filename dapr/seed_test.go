package main

import (
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
