package testbank_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document/documenttest"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
)

func newBank(store *documenttest.FakeStore, silence time.Duration) *testbank.Bank {
	return testbank.New(store, clock.System{}, id.Random{}, silence)
}

func charge(operation, source string) app.Charge {
	return app.Charge{OperationID: operation, Source: source, Amount: money.New(100, "EUR")}
}

func TestChargeBySource(t *testing.T) {
	for _, c := range []struct {
		source string
		want   app.Answer
		err    error
	}{
		{testbank.SourceOK, app.Answer{Paid: true}, nil},
		{testbank.SourceDeclined, app.Answer{Reason: testbank.ReasonDeclined}, nil},
		{"tok_other", app.Answer{Reason: testbank.ReasonUnknown}, nil},
		{testbank.SourceTimeout, app.Answer{}, testbank.ErrNoAnswer},
		{testbank.SourceTimeoutDeclined, app.Answer{}, testbank.ErrNoAnswer},
	} {
		t.Run(c.source, func(t *testing.T) {
			bank := newBank(documenttest.NewStore(), 0)
			if got, err := bank.Charge(t.Context(), charge("op", c.source)); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
			settled := c.want
			switch c.source {
			case testbank.SourceTimeout:
				settled.Paid = true
			case testbank.SourceTimeoutDeclined:
				settled.Reason = testbank.ReasonDeclined
			}
			if got, err := bank.Outcome(t.Context(), "op"); got != settled || err != nil {
				t.Errorf("outcome: %+v, %v; want %+v", got, err, settled)
			}
			if got, err := bank.Charge(t.Context(), charge("op", c.source)); got != settled || err != nil {
				t.Errorf("repeat: %+v, %v; want %+v", got, err, settled)
			}
		})
	}
}

func TestSilenceEndsWithTheCallersDeadline(t *testing.T) {
	bank := newBank(documenttest.NewStore(), time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := bank.Charge(ctx, charge("op", testbank.SourceTimeout)); !errors.Is(err, testbank.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAnOperationIsOneCharge(t *testing.T) {
	bank := newBank(documenttest.NewStore(), 0)
	if _, err := bank.Outcome(t.Context(), "op"); !errors.Is(err, app.ErrUnknownCharge) {
		t.Errorf("outcome of nothing: %v", err)
	}
	if _, err := bank.Charge(t.Context(), charge("op", testbank.SourceOK)); err != nil {
		t.Fatal(err)
	}
	other := charge("op", testbank.SourceOK)
	other.Amount.Amount++
	for _, c := range []app.Charge{other, charge("op", testbank.SourceDeclined)} {
		if _, err := bank.Charge(t.Context(), c); !errors.Is(err, testbank.ErrReused) {
			t.Errorf("charging %+v under a used operation: %v", c, err)
		}
	}
}

func TestReportListsEachChargeOnce(t *testing.T) {
	store := documenttest.NewStore()
	bank := newBank(store, 0)
	const charges = 300
	for i := range charges {
		if _, err := bank.Charge(t.Context(), charge(fmt.Sprint(i), testbank.SourceOK)); err != nil {
			t.Fatal(err)
		}
	}
	// An attempt that wrote its line and then crashed, and was repeated.
	var failing atomic.Bool
	failing.Store(true)
	store.BeforePut(func(key string, _ []byte) error {
		if failing.Load() && key == "testbank/charge/late" {
			return documenttest.ErrInjected
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := bank.Charge(ctx, charge("late", testbank.SourceOK)); err == nil {
		t.Fatal("the charge did not fail")
	}
	again := newBank(store, 0)
	failing.Store(false)
	if _, err := again.Charge(t.Context(), charge("late", testbank.SourceOK)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	cursor := ""
	for {
		page, next, err := again.Report(t.Context(), cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			seen[c.OperationID]++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(seen) != charges+1 {
		t.Errorf("the report has %d charges; want %d", len(seen), charges+1)
	}
	for operation, n := range seen {
		if n != 1 {
			t.Errorf("charge %s is reported %d times", operation, n)
		}
	}
}
