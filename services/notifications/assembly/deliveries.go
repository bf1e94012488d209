package assembly

import (
	"maps"
	"slices"
	"time"

	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/service"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

type emailSettings struct {
	Enabled bool   `mapstructure:"enabled" default:"false" help:"send e-mails by the output binding with the name email"`
	From    string `mapstructure:"from" help:"address of the sender, with or without a name; the file of the component decides if empty"`
	ReplyTo string `mapstructure:"reply_to" help:"address for answers; that of the sender if empty"`
	BaseURL string `mapstructure:"base_url" help:"address of the shop, for links in e-mails; no links if empty, and no e-mails that need one" validate:"omitempty,url"`
	// UnsubscribeKey must stay the same for as long as people look at their mails: another one makes all links in them invalid.
	UnsubscribeKey string `mapstructure:"unsubscribe_key" secret:"true" help:"signs the links that switch e-mails off, of at least 26 random characters; no such links if empty" validate:"omitempty,min=26,max=256"`
}

type deliverySettings struct {
	Attempts     int           `mapstructure:"attempts" default:"15" help:"how often sending a message may fail" validate:"min=1,max=100"`
	FirstBackoff time.Duration `mapstructure:"first_backoff" default:"2s" help:"pause after the first attempt that fails; each further pause is twice as long" validate:"min=1ms"`
	MaxBackoff   time.Duration `mapstructure:"max_backoff" default:"1h" help:"longest pause between attempts" validate:"min=1ms"`
	Attempt      time.Duration `mapstructure:"attempt" default:"30s" help:"time limit of one attempt" validate:"min=1s,max=5m"`
	Concurrency  int           `mapstructure:"concurrency" default:"16" help:"how many messages are sent at once" validate:"min=1,max=1000"`
	Fold         time.Duration `mapstructure:"fold" default:"30s" help:"shortest time between two messages of one kind about one order; the latest takes the place of the others" validate:"min=0"`
	MaxAge       time.Duration `mapstructure:"max_age" default:"48h" help:"age from which on an event leads to no message outside the app" validate:"min=1m"`
	SweepEvery   time.Duration `mapstructure:"sweep_every" default:"5s" help:"interval of the search for messages that a crash has left" validate:"min=100ms"`
}

// clockSkew is more than the clocks of replicas differ; see feed.Timing.
const clockSkew = 15 * time.Second

// deliveries are the use cases of the channels with an effect outside. Without such a channel they do nothing.
type deliveries struct {
	outbox  *app.Outbox
	list    app.ListDeliveries
	resend  app.ResendDelivery
	pushKey string // the public one, "" without push
	trail   feed.Trail
}

// channels are the channels with an effect outside that are on.
func (d deliveries) channels() []domain.Channel {
	if d.outbox == nil {
		return nil
	}
	return d.outbox.Channels
}

// audited is what the audit reads of them, nil without such a channel.
func (d deliveries) audited(preferences *app.Preferences, devices *app.PushSubscriptions, history *app.ChannelHistory) *audit.Messages {
	if d.outbox == nil {
		return nil
	}
	return &audit.Messages{Outbox: d.outbox, Preferences: preferences, Devices: devices, History: history, Reader: d.list.Reader, Trail: d.trail}
}

// deliveries assembles the channels with an effect outside, their driver and their sweep.
func (cfg settings) deliveries(s *service.Service, preferences app.Wishes, devices *app.PushSubscriptions) (deliveries, error) {
	key, err := cfg.Push.key()
	if err != nil {
		return deliveries{}, err
	}
	senders := make(map[domain.Channel]app.Sender)
	if cfg.Email.Enabled {
		senders[domain.Email] = cfg.Email.sender(s)
	}
	if key.Public != "" {
		senders[domain.Push] = cfg.pushSender(s, key, devices)
	}
	if len(senders) == 0 {
		return deliveries{resend: app.ResendDelivery{IDs: s.IDs}}, nil
	}
	meter, err := adapters.NewDeliveryMeter(s.Telemetry.Meter)
	if err != nil {
		return deliveries{}, err
	}
	documents := s.Documents(func(string) bool { return false })
	threads := document.NewRepository[domain.Thread](documents.Store, documents.Unpublished(app.ThreadPrefix)).
		Warm(func(t *domain.Thread) bool { return !t.Ended() })
	driver := app.NewDriver(&app.Driver{
		Threads: threads, Preferences: preferences, Meter: meter, Clock: s.Clock, IDs: s.IDs, Log: s.Log,
		Senders: senders, DriverOptions: cfg.Delivery.options(s.Jitter),
	})
	if err := adapters.ExportWaiting(s.Telemetry.Meter, driver); err != nil {
		return deliveries{}, err
	}
	sweep := app.NewDeliverySweep(threads, driver, &feed.Sweep{
		Reader: documents.Reader, Index: documents.Index, Store: documents.Store, Clock: s.Clock, IDs: s.IDs, Log: s.Log,
		Every: cfg.Delivery.SweepEvery, Settle: documents.Timing.Settle,
	})
	s.Background("deliveries", driver.Run)
	s.Background("sweep of deliveries", sweep.Run)
	return deliveries{
		outbox: &app.Outbox{
			Threads: threads, Preferences: preferences, Driver: driver, Channels: slices.Sorted(maps.Keys(senders)),
			Devices: devices, Clock: s.Clock,
		},
		pushKey: key.Public,
		list:    app.ListDeliveries{Threads: threads, Reader: documents.Reader, Sweep: sweep, Clock: s.Clock},
		resend:  app.ResendDelivery{Threads: threads, Driver: driver, Clock: s.Clock, IDs: s.IDs, Log: s.Log},
		trail:   documents.Trail(),
	}, nil
}

func (e emailSettings) sender(s *service.Service) app.EmailSender {
	return app.EmailSender{
		Contacts: users.NewContacts(s.Sidecar.Invoker()),
		Tokens:   users.MailTokens{Invoker: s.Sidecar.Invoker()},
		Mailer:   adapters.Email{Sidecar: s.Sidecar, From: e.From, ReplyTo: e.ReplyTo},
		BaseURL:  e.BaseURL, Unsubscribe: e.links(),
	}
}

func (e emailSettings) links() app.UnsubscribeLinks {
	return app.UnsubscribeLinks{BaseURL: e.BaseURL, Key: []byte(e.UnsubscribeKey)}
}

func (d deliverySettings) options(jitter func() float64) app.DriverOptions {
	return app.DriverOptions{
		Rules:   domain.DeliveryRules{Attempts: d.Attempts, Skew: clockSkew, Fold: d.Fold, MaxAge: d.MaxAge},
		Attempt: d.Attempt, Concurrency: d.Concurrency, FirstBackoff: d.FirstBackoff, MaxBackoff: d.MaxBackoff, Jitter: jitter,
	}
}
