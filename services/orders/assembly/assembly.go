// Package assembly is the composition root of orders: it connects the use cases with their adapters and registers
// routes, subscriptions and background work on the chassis.
package assembly

import (
	"context"
	"time"

	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/service"
	"caravan/services/orders/adapters"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

type settings struct {
	Saga struct {
		Patience     time.Duration `mapstructure:"patience" default:"15m" help:"how long an order may try before the pivot; several attempts of each step and their pauses must fit" validate:"min=1s"`
		StepTimeout  time.Duration `mapstructure:"step_timeout" default:"12s" help:"the longest that one attempt of a step takes" validate:"min=100ms"`
		FirstBackoff time.Duration `mapstructure:"first_backoff" default:"500ms" help:"pause after the first attempt without an answer" validate:"min=1ms"`
		MaxBackoff   time.Duration `mapstructure:"max_backoff" default:"10s" help:"longest pause between attempts" validate:"min=1ms"`
		SweepEvery   time.Duration `mapstructure:"sweep_every" default:"2s" help:"between two looks for orders that stopped" validate:"min=100ms"`
		AlarmAfter   time.Duration `mapstructure:"alarm_after" default:"5m" help:"how long an order past the pivot may wait before an alarm" validate:"min=1s"`
	} `mapstructure:"saga"`
}

// Build assembles the program on the chassis; it is what main and the simulation run.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	store := s.Sidecar.Store()
	timing := feed.Timing{Bucket: s.Settings.Feed.Bucket, Settle: s.Settings.Feed.Settle}
	index := feed.NewIndex(store, s.Clock, timing, s.IDs.New())
	reader := feed.NewReader(store, s.Clock, timing)
	relay := feed.NewRelay(s.Sidecar.Publisher(), contract.App, s.Clock, s.Log)

	options := document.Options{
		Prefix: app.Prefix, Source: contract.App, Index: index, Relay: relay.Only(contract.Published), Clock: s.Clock, IDs: s.IDs,
	}
	orders := document.NewRepository[domain.Order](store, options).Warm(func(o *domain.Order) bool { return !o.Status.Terminal() })
	lists := document.NewChain[app.Entry](store, "orders-of/", 50, options)

	saga := app.Participants{
		Products: products.NewClient(s.Sidecar.Invoker()),
		Payments: payments.NewClient(s.Sidecar.Invoker()),
	}.Checkout()
	watch := app.NewWatch()
	pace := app.Pace{
		Deadline: cfg.Saga.Patience, Attempt: cfg.Saga.StepTimeout,
		Backoff: app.Backoff{First: cfg.Saga.FirstBackoff, Max: cfg.Saga.MaxBackoff, Jitter: s.Jitter},
	}
	if err := saga.Check(pace); err != nil {
		return service.Misconfigured(err)
	}
	alarm := app.NewAlarm(cfg.Saga.AlarmAfter, s.Clock, s.Log)
	if err := adapters.ExportAlarm(s.Telemetry.Meter, alarm); err != nil {
		return err
	}
	driver := app.NewDriver(orders, saga, s.Clock, s.Log, watch, pace, alarm)
	sweep := &app.Sweep{
		Orders: orders, Lists: lists, Reader: reader, Index: index, Driver: driver, Store: store, Clock: s.Clock, IDs: s.IDs, Log: s.Log,
		Every: cfg.Saga.SweepEvery, Settle: timing.Settle, Young: 3 * time.Second,
	}
	operate := app.Operate{Orders: orders, Reader: reader, Driver: driver, Sweep: sweep, Clock: s.Clock, IDs: s.IDs, Log: s.Log}

	adapters.API{
		Place:  app.PlaceOrder{Orders: orders, Lists: lists, Driver: driver, Clock: s.Clock, Patience: cfg.Saga.Patience},
		Show:   app.ShowOrder{Orders: orders, Watch: watch, Driver: driver, Clock: s.Clock},
		List:   app.ListOrders{Orders: orders, Lists: lists},
		Cancel: app.CancelOrder{Orders: orders, Driver: driver, Clock: s.Clock},
		Refund: app.RefundOrder{Orders: orders, Driver: driver, Clock: s.Clock, IDs: s.IDs},
	}.Register(s)
	adapters.Operations{
		Operate: operate,
		Audit: &app.Audit{
			Orders: orders, Lists: lists, Reader: reader, Invoker: s.Sidecar.Invoker(), Clock: s.Clock,
			Trail: feed.Trail{Store: store, Source: contract.App, Coverage: feed.NewCoverage(reader)},
		},
		Breakers: s.Sidecar.Breakers,
	}.Register(s)
	s.Internal("POST "+feed.Path, feed.Serve(reader))

	s.Underneath("relay", relay.Run)
	s.Background("driver", driver.Run)
	s.Background("sweep", sweep.Run)
	return nil
}
