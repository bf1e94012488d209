// Package assembly is the composition root of products: it connects the use cases with their adapters and registers
// routes, subscriptions and background work on the chassis.
package assembly

import (
	"context"
	"time"

	"caravan/internal/clock"
	"caravan/internal/service"
	"caravan/services/products/adapters"
	"caravan/services/products/app"
	"caravan/services/products/audit"
)

// settings are the configuration keys of products beyond those of every program.
type settings struct {
	Catalogue struct {
		Currency  string        `mapstructure:"currency" default:"EUR" validate:"required,iso4217" help:"the only currency the shop sells in, an ISO 4217 code"`
		ReadAge   time.Duration `mapstructure:"read_age" default:"1s" validate:"min=10ms,max=1m" help:"greatest age of the products and stock that are shown"`
		Reconcile time.Duration `mapstructure:"reconcile" default:"5m" validate:"min=1s" help:"pause between repairs of work that a crash interrupted"`
		LowStock  int64         `mapstructure:"low_stock" default:"5" validate:"min=0,max=1000000" help:"units that can be sold below which staff are notified that a stock is low; 0 never notifies"`
	} `mapstructure:"catalogue"`
	Watch struct {
		PerUser int           `mapstructure:"per_user" default:"100" validate:"min=1,max=1000" help:"products that one user may watch"`
		Settle  time.Duration `mapstructure:"settle" default:"2s" validate:"min=0,max=10m" help:"how long after a price fell its watchers are notified; of several changes in that time only the last counts"`
	} `mapstructure:"watch"`
	Reservation struct {
		TTL   time.Duration `mapstructure:"ttl" default:"30m" validate:"min=1s" help:"how long stock stays reserved before products asks orders about it"`
		Sweep time.Duration `mapstructure:"sweep" default:"1m" validate:"min=100ms" help:"pause between searches for overdue reservations"`
	} `mapstructure:"reservation"`
}

// Build assembles the program on the chassis; it is what main and the simulation run.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}

	documents := s.Documents(nil)
	stored := app.NewDocuments(documents.Store, documents.Options(""))
	stored.LowStock = cfg.Catalogue.LowStock
	shop := app.NewShop(stored, s.Clock, cfg.Catalogue.ReadAge)

	drops := app.NewPriceDrops(shop, cfg.Watch.Settle, s.Log)
	adapters.API{
		List: app.ListProducts{Shop: shop}, Get: app.GetProduct{Shop: shop},
		Create: app.CreateProduct{Shop: shop, Currency: cfg.Catalogue.Currency}, Change: app.ChangeProduct{Shop: shop, Drops: drops},
		Correct: app.CorrectStock{Shop: shop},
		Watch:   app.WatchProduct{Shop: shop, Most: cfg.Watch.PerUser}, Unwatch: app.UnwatchProduct{Shop: shop},
		Watches: app.ListWatches{Shop: shop},
		Reserve: app.ReserveStock{Shop: shop, Currency: cfg.Catalogue.Currency, TTL: cfg.Reservation.TTL},
		Commit:  app.CommitStock{Shop: shop}, Release: app.ReleaseStock{Shop: shop},
		Audit: audit.Audit{
			Documents: stored, Trail: documents.Trail(), Clock: s.Clock,
			// A repair may have begun just before the product was created; the minute is for the pass itself and for clocks.
			OpenWithin: 2*cfg.Catalogue.Reconcile + time.Minute,
		},
		Clock: s.Clock, Log: s.Log,
	}.Register(s)

	sweep := app.Sweep{Shop: shop, Orders: adapters.Orders{Invoker: s.Sidecar.Invoker()}, Log: s.Log}
	s.Background("sweep", every(s.Clock, cfg.Reservation.Sweep, sweep.Run))
	s.Background("reconcile", every(s.Clock, cfg.Catalogue.Reconcile, app.Reconcile{Shop: shop, Drops: drops}.Run))
	s.Background("price drops", drops.Run)
	return nil
}

// every repeats work with a pause before each run, until the context ends.
func every(clk clock.Clock, pause time.Duration, work func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			if err := clk.Sleep(ctx, pause); err != nil {
				return err
			}
			if err := work(ctx); err != nil {
				return err
			}
		}
	}
}
