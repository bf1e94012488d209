package assembly

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"caravan/internal/service"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/adapters/vapid"
	"caravan/services/notifications/app"
)

type pushSettings struct {
	PrivateKey string `mapstructure:"private_key" secret:"true" help:"the VAPID key of the shop: 32 bytes in base64url, the same for ever; no push if empty"`
	Contact    string `mapstructure:"contact" help:"how operators of push services reach the shop: mailto:address or https://...; required with push.private_key"`
	AllowLocal bool   `mapstructure:"allow_local" default:"false" help:"for tests only: push services on this machine, also over http and on any port"`
}

// Limits of the calls of push services for one message.
const (
	pushTimeout  = 10 * time.Second
	pushSlotWait = time.Second
)

// key is the key of the shop, the zero Key without push.
func (cfg pushSettings) key() (vapid.Key, error) {
	if cfg.PrivateKey == "" {
		return vapid.Key{}, nil
	}
	if !strings.HasPrefix(cfg.Contact, "mailto:") && !strings.HasPrefix(cfg.Contact, "https://") {
		return vapid.Key{}, errors.New("push.contact (CARAVAN_PUSH_CONTACT): must begin with mailto: or https://")
	}
	key, err := vapid.Parse(cfg.PrivateKey)
	if err != nil {
		return vapid.Key{}, fmt.Errorf("push.private_key (CARAVAN_PUSH_PRIVATE_KEY): %w", err)
	}
	return key, nil
}

func (cfg settings) pushSender(s *service.Service, key vapid.Key, devices *app.PushSubscriptions) app.PushSender {
	var transport http.RoundTripper = s.Outside
	if transport == nil {
		transport = adapters.PublicTransport(cfg.Push.AllowLocal)
	}
	return app.PushSender{
		Subscriptions: devices, Clock: s.Clock, Log: s.Log, MaxWait: cfg.Delivery.MaxBackoff,
		Pusher: adapters.Push{Transport: transport, Key: key, Contact: cfg.Push.Contact, Clock: s.Clock},
		// Half of what the driver sends at once.
		Slots: make(chan struct{}, max(cfg.Delivery.Concurrency/2, 1)), SlotWait: pushSlotWait,
		Timeout: min(pushTimeout, cfg.Delivery.Attempt/2),
	}
}

func (d deliveries) pushAPI(cfg pushSettings, devices *app.PushSubscriptions) adapters.PushAPI {
	return adapters.PushAPI{
		Subscribe: app.SubscribePush{PushSubscriptions: devices}, List: app.ListPushSubscriptions{PushSubscriptions: devices},
		Unsubscribe: app.UnsubscribePush{PushSubscriptions: devices}, PublicKey: d.pushKey, AllowLocal: cfg.AllowLocal,
	}
}
