// Package assembly is the composition root of notifications: it connects the use cases with their adapters, and registers
// routes and the consumer of events.
package assembly

import (
	"context"
	"time"

	"caravan/internal/service"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
	users "caravan/services/users/contract"
)

// settings are the service's own configuration keys.
type settings struct {
	Inbox inboxSettings `mapstructure:"inbox"`
}

type inboxSettings struct {
	Interval time.Duration `mapstructure:"interval" default:"1s" help:"shortest time between two writes of one inbox; 0 stores each event before it is acknowledged" validate:"min=0,max=1m"`
	Waiting  int           `mapstructure:"waiting" default:"10000" help:"how many events may wait to be stored" validate:"min=1,max=1000000"`
	Remember int           `mapstructure:"remember" default:"100000" help:"how many recent events are remembered, so that the pull of an event that was pushed costs nothing" validate:"min=1,max=10000000"`
}

// Build assembles the program on the chassis; it is what main and the simulation run.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	counter, err := adapters.NewCounter(s.Telemetry.Meter)
	if err != nil {
		return err
	}
	inboxes := app.NewInboxes(app.Ports{Store: s.Sidecar.Store(), Clock: s.Clock, IDs: s.IDs, Log: s.Log})
	deliver := app.DeliverEvent{Inboxes: inboxes, Counter: counter}
	consumer := service.Consumer{
		Producers: contract.Producers(), Handle: deliver.Do, Check: app.Check, Remember: cfg.Inbox.Remember, Count: counter.Count,
		ReadPermission: users.PermissionOpsRead, WritePermission: users.PermissionOpsWrite,
	}
	if cfg.Inbox.Interval > 0 {
		consumer.Collector = app.NewCollector(deliver, app.CollectorOptions{Interval: cfg.Inbox.Interval, Waiting: cfg.Inbox.Waiting})
	}
	letters := s.Consume(consumer)
	adapters.API{
		List:     app.ListNotifications{Inboxes: inboxes},
		MarkRead: app.MarkRead{Inboxes: inboxes},
		Audit:    audit.New(inboxes, letters),
	}.Register(s)
	return nil
}
