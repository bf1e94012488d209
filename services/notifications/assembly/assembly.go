// Package assembly is the composition root of notifications: it connects the use cases with their adapters and registers
// routes, subscriptions and background work on the chassis.
package assembly

import (
	"context"
	"time"

	"caravan/internal/feed"
	"caravan/internal/service"
	"caravan/services/notifications/adapters/metrics"
	"caravan/services/notifications/adapters/rest"
	"caravan/services/notifications/app"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

// settings are the service's own configuration keys.
type settings struct {
	Inbox inboxSettings `mapstructure:"inbox"`
}

type inboxSettings struct {
	Interval time.Duration `mapstructure:"interval" default:"1s" help:"between two writes of one inbox; 0 stores each event before it is acknowledged" validate:"min=0,max=1m"`
	Waiting  int           `mapstructure:"waiting" default:"10000" help:"how many events may wait to be stored" validate:"min=1,max=1000000"`
	Remember int           `mapstructure:"remember" default:"100000" help:"how many recent events are remembered, so that pulling what was pushed costs nothing" validate:"min=1,max=10000000"`
}

// Build assembles the program on the chassis; it is what main and the simulation run.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	counter, err := metrics.NewCounter(s.Telemetry.Meter)
	if err != nil {
		return err
	}
	notifications := app.New(app.Ports{
		Store:   s.Sidecar.Store(),
		Clock:   s.Clock,
		IDs:     s.IDs,
		Counter: counter,
		Log:     s.Log,
	})
	consume(s, notifications, cfg.Inbox)
	s.Background("batches of dead letters", app.NewBatchWorker(notifications).Run)
	serve(s, rest.NewHandlers(notifications))
	return nil
}

// consume hears the facts of the producers by both roads: pushed by the broker and pulled from their feeds.
func consume(s *service.Service, n *app.Notifications, cfg inboxSettings) {
	seen := feed.NewSeen(cfg.Remember)
	consumer := app.NewConsumer(n, seen, app.ConsumerOptions{Interval: cfg.Interval, Waiting: cfg.Waiting})
	s.BackgroundLast("inboxes", consumer.Run)
	for _, producer := range contract.Producers() {
		s.Subscribe(producer, consumer.Pushed)
		puller := &feed.Puller{
			Producer: producer,
			Invoker:  s.Sidecar.Invoker(),
			Store:    s.Sidecar.Store(),
			Seen:     seen,
			Handle:   consumer.Pulled,
			PutAway:  n.PutAway,
			Clock:    s.Clock,
			IDs:      s.IDs,
			Log:      s.Log,
			Every:    s.Settings.Feed.PullInterval,
		}
		s.Background("pull "+producer, puller.Run)
	}
}

// serve registers the routes. Dead letters come to a route of their own rather than to a subscription's, because they
// may be anything.
func serve(s *service.Service, h *rest.Handlers) {
	s.Public("GET /v1/notifications?unread&limit&cursor", h.List)
	s.Public("POST /v1/notifications/{id}/read", h.MarkRead)
	s.Public("GET /v1/ops/dead-letters?status&consumer&topic&type&reason&since&until&limit&cursor", h.ListDeadLetters)
	s.Public("GET /v1/ops/dead-letters/{id}", h.ShowDeadLetter)
	s.Public("POST /v1/ops/dead-letters/{id}/replay", h.ReplayDeadLetter)
	s.Public("POST /v1/ops/dead-letters/{id}/discard", h.DiscardDeadLetter)
	for _, kind := range []domain.BatchKind{domain.BatchReplay, domain.BatchDiscard} {
		path := "/v1/ops/dead-letters/" + string(kind)
		b := h.Batches(kind, path+"s")
		s.Public("POST "+path, b.Start)
		s.Public("GET "+path+"s?limit&cursor", b.List)
		s.Public("GET "+path+"s/{id}", b.Show)
		s.Public("POST "+path+"s/{id}/cancel", b.Cancel)
	}
	s.Internal("POST "+contract.PathAudit, h.Audit)
	s.Internal("POST "+contract.PathEntries, h.AuditEntries)
	s.SubscribeRaw(contract.DeadLetterTopic, "POST "+rest.PathDeadLetters, h.ReceiveDeadLetter)
}
