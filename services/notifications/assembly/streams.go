package assembly

import (
	"time"

	"caravan/internal/service"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/app"
)

type streamSettings struct {
	PerUser    int           `mapstructure:"per_user" default:"10" help:"event streams that one user may have open at this replica" validate:"min=1,max=1000"`
	PerReplica int           `mapstructure:"per_replica" default:"10000" help:"event streams that may be open at this replica" validate:"min=1,max=1000000"`
	Refresh    time.Duration `mapstructure:"refresh" default:"15s" help:"between two reads of the inbox of a user with a stream, by which an event that was not heard of is found" validate:"min=100ms,max=10m"`
	Poll       time.Duration `mapstructure:"poll" default:"5s" help:"the same while no events are heard of, for example because the component live is missing" validate:"min=100ms,max=10m"`
	Hold       time.Duration `mapstructure:"hold" default:"50ms" help:"how long a status of an order waits for an earlier one that may be missing" validate:"min=0,max=2s"`
	Heartbeat  time.Duration `mapstructure:"heartbeat" default:"15s" help:"between two signs of life in a stream" validate:"min=1s,max=1m"`
}

// streams assembles the event streams of this replica.
func (cfg streamSettings) streams(s *service.Service, inboxes *app.Inboxes, preferences *app.Preferences) (*app.Streams, error) {
	meter, err := adapters.NewStreamMeter(s.Telemetry.Meter)
	if err != nil {
		return nil, err
	}
	streams := app.NewStreams(inboxes, preferences, meter, app.StreamOptions{
		PerUser: cfg.PerUser, PerReplica: cfg.PerReplica, Refresh: cfg.Refresh, Poll: cfg.Poll, Heartbeat: cfg.Heartbeat, Hold: cfg.Hold,
	})
	if err := adapters.GaugeStreams(s.Telemetry.Meter, streams.Count); err != nil {
		return nil, err
	}
	s.Background("streams", streams.Run)
	s.Background("events for streams", app.FollowEvents{Streams: streams, Live: s.Sidecar}.Do)
	return streams, nil
}
