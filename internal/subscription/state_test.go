package subscription

import (
	"testing"
	"time"
)

func TestEvaluate(t *testing.T) {
	start := time.Unix(1000, 0).UTC()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	tests := map[string]struct {
		state state
		last  time.Time // of the last delivery
		dead  bool
		probe bool
	}{
		"healthy: a delivery after the first heartbeat":    {state{listed: true, accepted: 9, first: at(0), probed: at(40), dead: true}, at(1), false, false},
		"too few heartbeats":                               {state{listed: true, accepted: 2, first: at(0)}, time.Time{}, false, false},
		"silent for less than the bound":                   {state{listed: true, accepted: 5, first: at(71)}, time.Time{}, false, false},
		"silent for the bound: a probe is due":             {state{listed: true, accepted: 5, first: at(70)}, time.Time{}, false, true},
		"the probe was a moment ago":                       {state{listed: true, accepted: 5, first: at(0), probed: at(91)}, time.Time{}, false, false},
		"nothing came after the probe: dead":               {state{listed: true, accepted: 5, first: at(0), probed: at(90)}, time.Time{}, true, false},
		"dead, and publishing fails: unknown":              {state{listed: true, accepted: 0, dead: true}, time.Time{}, false, false},
		"not listed for less than the bound":               {state{unlisted: at(71), since: at(0)}, time.Time{}, false, false},
		"not listed for the bound: dead":                   {state{unlisted: at(70), since: at(0)}, time.Time{}, true, false},
		"not listed by a sidecar that just started":        {state{unlisted: at(70), since: at(90)}, time.Time{}, false, false},
		"heartbeats hang for ten bounds: dead":             {state{listed: true, hanging: at(-200)}, time.Time{}, true, false},
		"heartbeats hang, and a delivery came since":       {state{listed: true, hanging: at(-200)}, at(0), false, false},
		"heartbeats hang for less than ten bounds":         {state{listed: true, hanging: at(-199)}, time.Time{}, false, false},
		"the last delivery was before the first heartbeat": {state{listed: true, accepted: 5, first: at(1)}, at(0), false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := test.state
			if reason, probe := s.evaluate(at(100), test.last, settings); s.dead != test.dead || probe != test.probe || test.dead && reason == "" {
				t.Errorf("dead is %t for %q, a probe is due: %t", s.dead, reason, probe)
			}
		})
	}
}
