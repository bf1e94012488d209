// Package stacktest has what the tests on real stacks share: their settings and the environment of the programs.
package stacktest

import (
	"maps"
	"net/http"
	"os"
)

// PushPrivateKey is the key of the stacks of tests: any 32 bytes.
const PushPrivateKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"

// Protocols are those with which a sidecar may call a program: app protocols http and h2c.
func Protocols() *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return protocols
}

// Take reads a variable of the environment and removes it: the programs refuse CARAVAN_ variables that they do not know.
func Take(variable string) string {
	value := os.Getenv(variable)
	_ = os.Unsetenv(variable)
	return value
}

// Environment makes programs fast for tests: what happens periodically happens every second, and no caller is limited.
func Environment(programs []string) map[string]map[string]string {
	env := make(map[string]map[string]string)
	for _, name := range programs {
		env[name] = map[string]string{
			"CARAVAN_FEED_BUCKET": "1s", "CARAVAN_FEED_SETTLE": "6s", "CARAVAN_FEED_PULL_INTERVAL": "1s",
		}
	}
	maps.Copy(env["gateway"], map[string]string{"CARAVAN_LIMIT_SCALE": "1000", "CARAVAN_BREAKER_OPEN": "500ms"})
	maps.Copy(env["orders"], map[string]string{
		"CARAVAN_SAGA_FIRST_BACKOFF": "200ms", "CARAVAN_SAGA_MAX_BACKOFF": "2s", "CARAVAN_SAGA_SWEEP_EVERY": "500ms",
	})
	if env["notifications"] != nil { // a fixed key, and push services on this machine
		maps.Copy(env["notifications"], map[string]string{
			"CARAVAN_PUSH_PRIVATE_KEY": PushPrivateKey, "CARAVAN_PUSH_CONTACT": "mailto:shop@caravan.example", "CARAVAN_PUSH_ALLOW_LOCAL": "true",
		})
	}
	return env
}
