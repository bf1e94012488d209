// Package assembly is the composition root of payments: it connects the use cases with their adapters and registers
// routes, subscriptions and background work on the chassis.
package assembly

import (
	"context"
	"time"

	"caravan/internal/invoke"
	"caravan/internal/service"
	"caravan/services/payments/adapters"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
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
		Interval time.Duration `mapstructure:"interval" default:"10s" validate:"min=10ms" help:"between two searches for deposits that are still pending"`
	} `mapstructure:"reconcile"`
}

// Build assembles the program on the chassis; it is what main and the simulation run.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}

	documents := s.Documents(contract.Published)
	// Only the reconciler needs the events of pending deposits. It reads them from the feed.
	pending := documents.Unpublished("")

	// Use cases.
	bank := testbank.New(documents.Store, s.Clock, s.IDs, cfg.Bank.Silence)
	ledger := app.NewLedger(documents.Store, documents.Options(""), cfg.Wallet.Currency, domain.DefaultLimits())
	deposits := app.NewDeposits(ledger, documents.Store, pending, bank, s.Log, cfg.Bank.Timeout)
	reconciler := app.NewReconciler(deposits, documents.Reader, documents.Store, pending, s.Log, cfg.Reconcile.Interval)
	audit := app.NewAudit(ledger, deposits, bank, documents.Reader)

	// Routes for users, through the gateway.
	wallet := adapters.Wallet{Ledger: ledger, Deposits: deposits}
	s.Public("GET /v1/wallet", wallet.Show)
	s.Public("GET /v1/wallet/postings?limit&cursor", wallet.History)
	s.Public("POST /v1/wallet/deposits", wallet.Deposit)
	s.Public("GET /v1/wallet/deposits/{id}", wallet.ShowDeposit)

	// Routes for other services.
	s.Internal("POST "+contract.PathAuthorize, invoke.Serve(s.Log, adapters.Validated(ledger.Authorize)))
	s.Internal("POST "+contract.PathCapture, invoke.Serve(s.Log, adapters.Validated(ledger.Capture)))
	s.Internal("POST "+contract.PathVoid, invoke.Serve(s.Log, adapters.Validated(ledger.Void)))
	s.Internal("POST "+contract.PathRefund, invoke.Serve(s.Log, adapters.Validated(ledger.Refund)))
	s.Internal("POST "+contract.PathAudit, adapters.Audit(audit))
	s.Internal("POST "+contract.PathOrders, adapters.AuditOrders(audit))

	// Background work.
	s.Background("deposits", deposits.Run)
	s.Background("reconciler", reconciler.Run)
	return nil
}
