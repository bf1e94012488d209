package subscription

import "time"

const (
	heartbeatsNeeded = 3  // accepted heartbeats without a delivery, before a subscription can be dead
	boundsHanging    = 10 // bounds for which a sidecar may neither accept nor refuse heartbeats
)

// state is what is known of one subscription.
type state struct {
	topic    string    // as deliveries name it
	full     string    // as the broker knows it
	since    time.Time // when the sidecar, or the Monitor, started
	listed   bool      // the sidecar lists it
	unlisted time.Time // since when the sidecar does not list it
	accepted int       // heartbeats accepted since the last delivery, without a failure between them
	first    time.Time // when the first of them was sent
	hanging  time.Time // since when heartbeats are neither accepted nor refused
	probed   time.Time // when the last probe was; zero if there was none since the last delivery
	dead     bool
}

// evaluate decides whether the subscription is dead, and why, or whether a probe is due. last is the last delivery.
func (s *state) evaluate(now, last time.Time, settings Settings) (reason string, probe bool) {
	if !s.listed && !s.unlisted.IsZero() && now.Sub(s.unlisted) >= settings.Bound && now.Sub(s.since) >= settings.Bound {
		s.dead = true
		return "the sidecar does not list the subscription", false
	}
	if !s.hanging.IsZero() && now.Sub(s.hanging) >= boundsHanging*settings.Bound && !last.After(s.hanging) {
		// A sidecar without a broker refuses heartbeats within seconds. One whose component lost an answer of the
		// broker hangs for ever. One whose broker is frozen hangs too, but recovers. Hence the long wait.
		s.dead = true
		return "heartbeats are neither accepted nor refused", false
	}
	if last.After(s.first) && s.accepted > 0 {
		s.accepted = 0 // healthy: count from the next heartbeat
		s.probed = time.Time{}
		s.dead = false
		return "", false
	}
	if s.accepted < heartbeatsNeeded || now.Sub(s.first) < settings.Bound {
		s.probed = time.Time{}
		s.dead = s.dead && s.accepted > 0 // without accepted heartbeats nothing is known
		return "", false
	}
	if s.probed.IsZero() {
		return "", true
	}
	s.dead = s.dead || now.Sub(s.probed) >= settings.Every
	return "heartbeats are accepted and do not arrive", false
}

// sidecarEnded resets the observations of a sidecar that ended at now.
func (s *state) sidecarEnded(now time.Time) {
	s.since, s.unlisted, s.accepted, s.hanging, s.probed = now, time.Time{}, 0, time.Time{}, time.Time{}
}
