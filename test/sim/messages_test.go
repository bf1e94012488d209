package sim

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	notifications "caravan/services/notifications/domain"
)

// reached is the line of a trace about a call of notifications that has reached the other side.
var reached = regexp.MustCompile(`^\* effect notifications\.0 (.*) #(\d+)$`)

// sending are the calls to the outside with which notifications sends one message: the numbers of the first, which stores the claim,
// of the one that sends it, and of the last, which stores that it is sent.
type sending struct {
	message             Message
	claim, send, stored int
	calls               map[int]string
}

// sendingOf finds them in an undisturbed run, for the message that was sent last by a channel.
func sendingOf(t *testing.T, run Result, channel notifications.Channel) sending {
	t.Helper()
	verb := map[notifications.Channel]string{notifications.Email: "mail ", notifications.Push: "push "}[channel]
	s := sending{calls: make(map[int]string)}
	all := make(map[int]string)
	for _, n := range run.Trace {
		if found := reached.FindStringSubmatch(n.What); found != nil {
			number, err := strconv.Atoi(found[2])
			if err != nil {
				t.Fatal(err)
			}
			if all[number] = found[1]; strings.HasPrefix(found[1], verb) {
				s.send = number
			}
		}
	}
	for m := range run.Messages {
		if m.Channel == channel && (channel == notifications.Push || all[s.send] == verb+m.ID) {
			s.message = m
		}
	}
	thread, _, _ := strings.Cut(s.message.ID, ".")
	for number, what := range all {
		if !strings.HasPrefix(what, "save ") || !strings.Contains(what, threadPrefix+thread) {
			continue
		}
		switch {
		case number < s.send && (s.claim == 0 || number < s.claim):
			s.claim = number
		case number > s.send && (s.stored == 0 || number < s.stored):
			s.stored = number
		}
	}
	if thread == "" || s.claim == 0 || s.stored == 0 {
		t.Fatalf("the calls of a message were not found: %+v in %v", s, all)
	}
	for number, what := range all {
		if number >= s.claim && number <= s.stored {
			s.calls[number] = what
		}
	}
	return s
}

// mayComeTwice reports whether the program that crashed in a run could not know that the message was sent: the other side had taken it,
// and this was not stored. Calls overlap, so what had happened by then is read from the trace.
func (s sending) mayComeTwice(run Result) bool {
	sent := false
	for _, n := range run.Trace {
		if strings.HasPrefix(n.What, "! crash of ") {
			return sent
		}
		if found := reached.FindStringSubmatch(n.What); found != nil {
			switch found[2] {
			case strconv.Itoa(s.send):
				sent = true
			case strconv.Itoa(s.stored):
				return false
			}
		}
	}
	return false
}

// TestCrashAtEachPointOfAMessage crashes notifications between the claim of a message and the write that it is sent, before and
// after each call to the outside. The message comes all the same, and twice only if the program could not know that it had sent it.
func TestCrashAtEachPointOfAMessage(t *testing.T) {
	keys := t.TempDir()
	plan := Checkout(keys, silent())
	plan.Whole = true
	undisturbed := Run(t, plan)
	report(t, "-run TestCrashAtEachPointOfAMessage", undisturbed)
	for _, channel := range []notifications.Channel{notifications.Email, notifications.Push} {
		t.Run(string(channel), func(t *testing.T) {
			s := sendingOf(t, undisturbed, channel)
			twice := 0
			for number := range s.calls {
				for _, phase := range []Phase{Before, After} {
					at := CrashPoint{number, phase}
					plan := Checkout(keys, silent(), at)
					plan.Whole = true
					result := Run(t, plan)
					report(t, "-run TestCrashAtEachPoint -sim.points="+at.flag(), result)
					if result.Fired["crash before"]+result.Fired["crash after"] != 1 {
						t.Errorf("%s (%s): there was no crash: %v", at, s.calls[number], result.Fired)
					}
					n := result.Messages[s.message]
					if n == 2 && s.mayComeTwice(result) {
						twice++
					} else if n != 1 {
						t.Errorf("%s (%s): the message came %d times", at, s.calls[number], n)
					}
				}
			}
			if twice == 0 {
				t.Error("no crash came when the message was taken and this was not stored")
			}
			t.Logf("a crash before and after each of %d calls, from %d to %d: %v; the message came twice after %d of them", len(s.calls), s.claim, s.stored, s.calls, twice)
		})
	}
}

// TestMessagesUnderFaults runs shops whose customers all get e-mails and push messages, from servers that defer and lose their
// answers, beside the faults of the network and of the stores.
func TestMessagesUnderFaults(t *testing.T) {
	const runs = 40
	keys := t.TempDir()
	fired := make(map[string]int)
	messages := make(map[notifications.Channel]int)
	for seed := uint64(1); seed <= runs; seed++ {
		plan := Seeded(seed, keys, silent())
		plan.Faults.Email, plan.Faults.MailFails, plan.Faults.MailReplyLost = true, 0.2, 0.1
		plan.Faults.Push, plan.Faults.PushFails, plan.Faults.PushReplyLost = true, 0.2, 0.1
		result := Run(t, plan)
		report(t, fmt.Sprintf("-run TestMessagesUnderFaults (seed %d)", seed), result)
		for kind, n := range result.Fired {
			fired[kind] += n
		}
		for m := range result.Messages {
			messages[m.Channel]++
		}
	}
	for _, kind := range []string{"mail deferred", "mail reply lost", "push refused", "push reply lost", "store down", "call lost", "crash"} {
		if fired[kind] == 0 {
			t.Errorf("the fault %q did not occur: %v", kind, fired)
		}
	}
	t.Logf("%v messages; faults: %v", messages, fired)
}
