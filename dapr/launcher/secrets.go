package launcher

import (
	"crypto/rand"

	"caravan/dapr/launcher/infra"
	"caravan/services/notifications/adapters/vapid"
)

// makeSecrets reads the stack's secrets, and makes those that are missing.
func (s *Stack) makeSecrets() (err error) {
	if s.tokens.api, err = infra.Secret(s.dir, "dapr-api-token"); err != nil {
		return err
	}
	if s.tokens.app, err = infra.Secret(s.dir, "app-api-token"); err != nil {
		return err
	}
	if s.unsubscribeKey, err = infra.Secret(s.dir, "unsubscribe-key"); err != nil {
		return err
	}
	password, err := infra.Secret(s.dir, "admin")
	if err != nil {
		return err
	}
	if s.pushKey, err = infra.SecretOf(s.dir, "push-private-key", newPushKey); err != nil {
		return err
	}
	s.admin = User{Email: "admin@caravan.example", Password: password, Role: "admin"}
	return nil
}

// newPushKey makes the key by which the shop identifies itself to push services. It is made once: with another one all subscriptions
// are useless.
func newPushKey() (string, error) {
	key, err := vapid.New(rand.Reader)
	return key.Private, err
}
