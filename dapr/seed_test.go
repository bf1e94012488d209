package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestSeedNamesTheVariableThatIsMissing(t *testing.T) {
	for missing, want := range map[string]string{
		"ADMIN_PASSWORD": "admin's password in ADMIN_PASSWORD", "STAFF_PASSWORD": "staff's password in STAFF_PASSWORD",
		"CUSTOMER_PASSWORD": "customer's password in CUSTOMER_PASSWORD",
	} {
		_, err := peopleOf(func(name string) string {
			if name == missing {
				return ""
			}
			return "a-password"
		})
		var usage *usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s the error is %v", missing, err)
		}
	}
}

func TestSeedNeedsAGateway(t *testing.T) {
	for _, name := range []string{"ADMIN_PASSWORD", "STAFF_PASSWORD", "CUSTOMER_PASSWORD"} {
		t.Setenv(name, "a-password")
	}
	var usage *usageError
	if err := seedCommand().run(context.Background(), &cli{}, nil); !errors.As(err, &usage) || !strings.Contains(err.Error(), "--gateway") {
		t.Errorf("the error is %v", err)
	}
}
