package app

import (
	"strings"
	"testing"
	"time"
)

// TestTheAlarm keeps orders past the pivot: they are reported once a minute, and not after they have ended.
func TestTheAlarm(t *testing.T) {
	o := newOffice()
	o.services.answer["capture"] = errAway
	first, second := o.order(t, "first"), o.order(t, "second")
	o.services.answer["authorize"] = errAway
	before := o.order(t, "before the pivot")
	alarms := func() int { return strings.Count(o.log.String(), "orders past the pivot wait too long") }
	tick := func(d time.Duration) {
		for end := o.clock.Now().Add(d); o.clock.Now().Before(end); o.pass(10 * time.Second) {
			for _, id := range []string{first.ID, second.ID, before.ID} {
				o.driven(t, id)
			}
		}
	}
	if tick(5 * time.Minute); alarms() != 0 {
		t.Fatalf("alarmed early: %s", o.log)
	}
	if tick(10 * time.Minute); alarms() < 8 || alarms() > 11 {
		t.Errorf("%d alarms in ten minutes", alarms())
	}
	if orders, age := o.driver.alarm.Overdue(); orders != 2 || age < 14*time.Minute || !strings.Contains(o.log.String(), `"orders":2`) || !strings.Contains(o.log.String(), `"step":"capture"`) {
		t.Errorf("%d orders for %s: %s", orders, age, o.log)
	}
	waits := o.driver.alarm.Waiting()
	if w := waits["capture"]; w.Orders != 2 || w.Longest < 14*time.Minute || waits["authorize"].Orders+waits["void"].Orders != 1 || len(waits) != 2 {
		t.Errorf("these wait: %+v", waits)
	}
	clear(o.services.answer)
	tick(time.Minute)
	was := alarms()
	tick(5 * time.Minute)
	if orders, age := o.driver.alarm.Overdue(); orders != 0 || age != 0 || alarms() != was {
		t.Errorf("%d orders for %s after they have ended", orders, age)
	}
	if waits := o.driver.alarm.Waiting(); len(waits) > 0 {
		t.Errorf("these wait after they have ended: %+v", waits)
	}
}
