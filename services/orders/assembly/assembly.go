// Package assembly is the composition root of orders: it connects the use cases with their adapters, and registers routes and
// workers.
package assembly

import (
	"context"
	"time"

	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/service"
	"caravan/services/orders/adapters"
	"caravan/services/orders/app"
	"caravan/services/orders/audit"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// settings are the service's own configuration keys.
type settings struct {
	Saga struct {
		Deadline     time.Duration `mapstructure:"deadline" default:"15m" help:"how long an order may try before the pivot; several attempts of each step and their pauses must fit" validate:"min=1s"`
		StepTimeout  time.Duration `mapstructure:"step_timeout" default:"12s" help:"time limit of one attempt of a step" validate:"min=100ms"`
		FirstBackoff time.Duration `mapstructure:"first_backoff" default:"500ms" help:"pause after the first attempt that gets no answer" validate:"min=1ms"`
		MaxBackoff   time.Duration `mapstructure:"max_backoff" default:"10s" help:"longest pause between attempts" validate:"min=1ms"`
		SweepEvery   time.Duration `mapstructure:"sweep_every" default:"2s" help:"interval of the search for orders that have stopped on their way" validate:"min=100ms"`
		AlarmAfter   time.Duration `mapstructure:"alarm_after" default:"5m" help:"how long an order past the pivot may wait before an alarm" validate:"min=1s"`
	} `mapstructure:"saga"`
}

// Build assembles the program on the chassis; it is what main and the simulation run.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	documents := s.Documents(contract.Published)
	orders, lists := repositories(documents)

	saga := app.Participants{
		Products: products.NewClient(s.Sidecar.Invoker()),
		Payments: payments.NewClient(s.Sidecar.Invoker()),
	}.Checkout()
	watch := app.NewWatch()
	pace := app.Pace{
		Deadline: cfg.Saga.Deadline, Attempt: cfg.Saga.StepTimeout,
		Backoff: app.Backoff{First: cfg.Saga.FirstBackoff, Max: cfg.Saga.MaxBackoff, Jitter: s.Jitter},
	}
	if err := saga.Check(pace); err != nil {
		return service.Misconfigured(err)
	}
	alarm := app.NewAlarm(cfg.Saga.AlarmAfter, s.Clock, s.Log)
	if err := adapters.ExportAlarm(s.Telemetry.Meter, alarm); err != nil {
		return err
	}
	if err := adapters.ExportWaiting(s.Telemetry.Meter, alarm); err != nil {
		return err
	}
	meter, err := adapters.NewMeter(s.Telemetry.Meter)
	if err != nil {
		return err
	}
	driver := app.NewDriver(orders, saga, s.Clock, s.Log, watch, pace, alarm, meter)
	sweep := app.NewSweep(orders, lists, driver, &feed.Sweep{
		Reader: documents.Reader, Index: documents.Index, Store: documents.Store,
		Clock: s.Clock, IDs: s.IDs, Log: s.Log, Every: cfg.Saga.SweepEvery, Settle: documents.Timing.Settle, Young: 3 * time.Second,
	})
	staff := app.Interventions{Orders: orders, Driver: driver, Clock: s.Clock, IDs: s.IDs, Log: s.Log}

	audited := documents.Waiting(audit.Wait)
	auditedOrders, auditedLists := repositories(audited)

	adapters.API{
		Place:         app.PlaceOrder{Orders: orders, Lists: lists, Driver: driver, Clock: s.Clock, Deadline: cfg.Saga.Deadline},
		Show:          app.ShowOrder{Orders: orders, Driver: driver, Clock: s.Clock},
		List:          app.ListOrders{Orders: orders, Lists: lists},
		Cancel:        app.CancelOrder{Orders: orders, Driver: driver, Clock: s.Clock},
		Refund:        app.RefundOrder{Orders: orders, Driver: driver, Clock: s.Clock, IDs: s.IDs},
		ListAll:       app.ListAllOrders{Orders: orders, Reader: documents.Reader, Saga: saga, Sweep: sweep, Clock: s.Clock},
		Retry:         app.RetryOrder{Interventions: staff},
		CancelByStaff: app.CancelOrderByStaff{Interventions: staff},
		Statuses:      app.OrderStatuses{Orders: orders},
		Audit: &audit.Audit{
			Orders: auditedOrders, Lists: auditedLists, Reader: audited.Reader, Trail: audited.Trail(),
			Invoker: s.Sidecar.Invoker(), Clock: s.Clock, Others: audit.Others(),
		},
		Steps: saga.Steps(), Breakers: s.Sidecar.Breakers,
	}.Register(s)

	s.Background("driver", driver.Run)
	s.Background("sweep", sweep.Run)
	return nil
}

// repositories are the orders, and the lists of users' orders, in some documents.
func repositories(in *service.Documents) (*app.Orders, app.UserOrders) {
	orders := document.NewRepository[domain.Order](in.Store, in.Options(app.Prefix)).
		Warm(func(o *domain.Order) bool { return !o.Status.Terminal() }).IndexEarly()
	return orders, app.NewUserOrders(in.Store, in.Options(app.Prefix))
}
