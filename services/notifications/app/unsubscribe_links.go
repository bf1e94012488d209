package app

import (
	"net/url"
	"strings"

	"caravan/internal/clock"
	"caravan/services/notifications/domain"
)

// UnsubscribePath is where the link of a mail leads, below the address of the shop.
const UnsubscribePath = "/v1/unsubscribe"

// UnsubscribeLinks writes and reads the links by which mails of a kind are switched off, without a login.
type UnsubscribeLinks struct {
	// BaseURL is the address of the shop, and Key signs the links. Without either there are none.
	BaseURL string
	Key     []byte
}

// Of is the link of a message, or "" for one that cannot be switched off.
func (l UnsubscribeLinks) Of(m Message, c domain.Channel) string {
	if l.BaseURL == "" || len(l.Key) == 0 || !m.Kind.Offers(c) || m.Kind.Fixed(c) {
		return ""
	}
	token := domain.NewUnsubscribe(m.UserID, m.Kind, c, m.Delivery.OccurredAt).Token(l.Key)
	return strings.TrimSuffix(l.BaseURL, "/") + UnsubscribePath + "?" + url.Values{"token": {token}}.Encode()
}

func (l UnsubscribeLinks) read(token string, clk clock.Clock) (domain.Unsubscribe, domain.Kind, error) {
	asked, err := domain.ParseUnsubscribe(token, l.Key, clk.Now())
	if err != nil {
		return asked, domain.Kind{}, err
	}
	kind, err := asked.About()
	return asked, kind, err
}
