// Package assembly connects the use cases of payments with their adapters, and registers routes and workers.
package assembly

import (
	"context"
	"time"

	"caravan/internal/service"
	"caravan/services/payments/adapters"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
	"caravan/services/payments/audit"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// settings are the configuration keys of payments beyond those of every program.
type settings struct {
	Wallet struct {
		Currency string `mapstructure:"currency" default:"EUR" validate:"required,iso4217" help:"currency of new wallets"`
	} `mapstructure:"wallet"`
	Bank struct {
		Timeout time.Duration `mapstructure:"timeout" default:"2s" validate:"min=10ms,max=10s" help:"deadline of a call to the bank, after which a deposit stays pending"`
		Silence time.Duration `mapstructure:"silence" default:"30s" validate:"min=0" help:"how long the test bank does not answer tok_timeout"`
	} `mapstructure:"bank"`
	Reconcile struct {
		Interval time.Duration `mapstructure:"interval" default:"10s" validate:"min=10ms" help:"interval between two searches for deposits that are still pending"`
	} `mapstructure:"reconcile"`
}

// Build assembles the program. main and the simulation run it.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	documents := s.Documents(contract.Published)
	bank := testbank.New(documents.Store, s.Clock, s.IDs, cfg.Bank.Silence)
	ledger := app.NewLedger(documents.Store, documents.Options(""), cfg.Wallet.Currency, domain.DefaultLimits())
	deposits := app.NewDeposits(ledger, documents.Store, documents.Options(""), bank, s.Log, cfg.Bank.Timeout)
	adapters.API{
		ShowWallet:   app.ShowWallet{Ledger: ledger},
		ListPostings: app.ListPostings{Ledger: ledger},
		Deposit:      app.Deposit{Deposits: deposits},
		ShowDeposit:  app.ShowDeposit{Deposits: deposits},
		Authorize:    app.Authorize{Ledger: ledger},
		Capture:      app.Capture{Ledger: ledger},
		Void:         app.Void{Ledger: ledger},
		Refund:       app.Refund{Ledger: ledger},
		Audit: audit.Audit{
			Ledger: ledger, Deposits: deposits, Bank: bank, Feed: documents.Reader, Trail: documents.Trail(), Clock: s.Clock,
		},
		Log: s.Log,
	}.Register(s)

	reconciler := app.NewReconciler(deposits, documents.Reader, documents.Store, documents.Unpublished(""), s.Log, cfg.Reconcile.Interval)
	s.Background("reconciler", reconciler.Run)
	return nil
}
