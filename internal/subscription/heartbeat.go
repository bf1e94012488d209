package subscription

import (
	"context"
	"errors"
	"time"

	"caravan/internal/sidecar"
)

const (
	heartbeatTimeout   = 15 * time.Second // a sidecar that lost the broker retries for some seconds before it refuses
	longestPause       = time.Minute      // between heartbeats that are not accepted
	pauseSpread        = 0.2              // the part of the pause that is random, so that replicas do not send at the same moment
	probeHeartbeats    = 16               // in a probe, for each known replica: the chance that none arrives here is e^-16
	probeLeastReplicas = 20               // in a probe: a replica that just started does not know the others
	probePause         = 100 * time.Millisecond
	boundsRemembered   = 20 // bounds after which another replica no longer counts
)

// sendHeartbeats sends heartbeats through one topic until ctx ends. While they are not accepted the pause grows,
// because calls to a sidecar that waits for its broker accumulate in it.
func (m *Monitor) sendHeartbeats(ctx context.Context, s *state) {
	pause := m.Settings.Every
	for {
		wait := time.Duration(float64(pause) * (1 + pauseSpread*(m.Jitter()-0.5)))
		if m.sendHeartbeat(ctx, s) {
			pause = m.Settings.Every
		} else {
			pause = min(pause*2, max(longestPause, m.Settings.Every))
		}
		if m.Clock.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// sendHeartbeat sends one heartbeat and reports whether it was accepted.
func (m *Monitor) sendHeartbeat(ctx context.Context, s *state) bool {
	m.mu.Lock()
	m.sent++
	h := sidecar.Heartbeat{App: m.App, Replica: m.Replica, Number: m.sent, Time: m.Clock.Now()}
	full := s.full
	m.mu.Unlock()
	calling, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	err := m.Sidecar.SendHeartbeat(calling, full, h)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		// The broker or the sidecar is unavailable. The subscription is evaluated when it is back.
		s.accepted = 0
		if !errors.Is(calling.Err(), context.DeadlineExceeded) {
			s.hanging = time.Time{}
		} else if s.hanging.IsZero() {
			s.hanging = h.Time
		}
		m.Log.DebugContext(ctx, "a heartbeat was not accepted", "topic", full, "error", err)
		return false
	}
	s.hanging = time.Time{}
	if s.accepted == 0 {
		s.first = h.Time
	}
	s.accepted++
	return true
}

// probe sends so many heartbeats that one almost certainly arrives at this replica. It stops at the first delivery.
func (m *Monitor) probe(ctx context.Context, s *state) {
	replicas := m.Subscriber.Replicas(m.App, m.Clock.Now().Add(-boundsRemembered*m.Settings.Bound))
	m.Log.InfoContext(ctx, "a subscription is silent and is probed before the sidecar is restarted", "topic", s.full, "replicas", replicas)
	began := m.Clock.Now()
	for range max(replicas+1, probeLeastReplicas) {
		for range probeHeartbeats {
			if !m.sendHeartbeat(ctx, s) {
				return
			}
		}
		if m.Clock.Sleep(ctx, probePause) != nil || m.Subscriber.Traffic(s.topic).Last.After(began) {
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.probed = m.Clock.Now() // gives the last heartbeats as much time as the first
}
