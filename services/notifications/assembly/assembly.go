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
	Inbox    inboxSettings    `mapstructure:"inbox"`
	Email    emailSettings    `mapstructure:"email"`
	Delivery deliverySettings `mapstructure:"delivery"`
	Stream   streamSettings   `mapstructure:"stream"`
	Push     pushSettings     `mapstructure:"push"`
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
	ports := app.Ports{Store: s.Sidecar.Store(), Clock: s.Clock, IDs: s.IDs, Log: s.Log}
	inboxes, preferences := app.NewInboxes(ports), app.NewPreferences(ports)
	devices := app.NewPushSubscriptions(ports)
	deliveries, err := cfg.deliveries(s, preferences, devices)
	if err != nil {
		return err
	}
	history := app.NewChannelHistory(inboxes, deliveries.channels()...)
	deliver := app.DeliverEvent{
		Inboxes: inboxes, Counter: counter, Staff: adapters.Staff{Invoker: s.Sidecar.Invoker()}, Outbox: deliveries.outbox,
		History: history,
	}
	consumer := service.Consumer{
		Producers: contract.Producers(), Handle: deliver.Do, Check: app.Check, Remember: cfg.Inbox.Remember, Count: counter.Count,
		ReadPermission: users.PermissionOpsRead, WritePermission: users.PermissionOpsWrite,
	}
	if cfg.Inbox.Interval > 0 {
		consumer.Collector = app.NewCollector(deliver, app.CollectorOptions{Interval: cfg.Inbox.Interval, Waiting: cfg.Inbox.Waiting})
	}
	letters := s.Consume(consumer)
	streams, err := cfg.Stream.streams(s, inboxes, preferences)
	if err != nil {
		return err
	}
	adapters.API{
		List:               app.ListNotifications{Inboxes: inboxes, Preferences: preferences},
		MarkRead:           app.MarkRead{Inboxes: inboxes},
		MarkAllRead:        app.MarkAllRead{Inboxes: inboxes},
		Delete:             app.DeleteNotification{Inboxes: inboxes},
		ShowPreferences:    app.ShowPreferences{Preferences: preferences},
		SetPreferences:     app.SetPreferences{Preferences: preferences},
		ShowUnsubscription: app.ShowUnsubscription{Preferences: preferences, Links: cfg.Email.links(), Clock: s.Clock},
		Unsubscribe:        app.Unsubscribe{Preferences: preferences, Links: cfg.Email.links(), Clock: s.Clock},
		OpenStream:         app.OpenStream{Streams: streams},
		Push:               deliveries.pushAPI(cfg.Push, devices),
		Jitter:             s.Jitter,
		Log:                s.Log,
		Audit:              audit.New(inboxes, letters, deliveries.audited(preferences, devices, history)),
		ListDeliveries:     deliveries.list,
		ResendDelivery:     deliveries.resend,
	}.Register(s)
	return nil
}
