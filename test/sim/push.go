package sim

import (
	"net/http"
)

// pushPrivateKey is the key of the simulated shop: any 32 bytes.
const pushPrivateKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"

// outside is what the programs reach without their sidecar: a push service, which takes every message.
type outside struct{ life *life }

// RoundTrip answers a message.
func (o outside) RoundTrip(r *http.Request) (*http.Response, error) {
	w := o.life.world
	in, err := copyOf(r)
	if err != nil {
		return nil, err
	}
	var response *http.Response
	err = w.ask(r.Context(), o.life, "push "+in.header.Get("Topic"), func(c *call) {
		w.after(w.latency(), "answer "+c.label, func() {
			response = respond(http.StatusCreated, "", nil)
			w.answer(c, nil)
		})
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}
