package planted

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"caravan/internal/document"
	"caravan/internal/feed"
	notifications "caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
	"caravan/test/sim"
)

var (
	code    = flag.Bool("planted.code", false, "plant faults into the code too; each builds the programs again")
	mutated = flag.String("planted.mutated", "", "this process is a mutant: look for a finding, as service/invariant")
	seeds   = flag.Uint64("planted.seeds", 60, "how many simulated shops a mutant has to show itself in")
	first   = flag.Uint64("planted.first", 1, "the seed of the first of them")
)

// mutant is one mistake in the code: a text that occurs once, and its replacement. The mistakes are those that the
// design must prevent. The compiler's overlay plants them, so the code has no hooks for them.
type mutant struct {
	name, file, old, new string
	service, invariant   string
	// calm mutants are detected in a large shop without faults, the others in small ones with random faults.
	calm bool
	// mail mutants need shops that send e-mails.
	mail bool
	// seed, if set, is a seed at which the mutant was found after a long search. The search begins there.
	seed uint64
}

var mutants = []mutant{
	{name: "the inbox does not look for duplicates", file: "services/notifications/domain/inbox.go",
		old:     `if slices.ContainsFunc(i.Entries, func(e Entry) bool { return e.EventID == n.EventID }) || slices.ContainsFunc(fresh, same) {`,
		new:     `if slices.ContainsFunc(fresh, same) {`,
		service: notifications.App, invariant: notifications.InvariantOneEntry},
	{name: "a notice goes to whoever has the order's number", file: "services/notifications/domain/notice.go",
		old: "of the event\")\n\t}\n\tn.UserID = fact.UserID", new: "of the event\")\n\t}\n\tn.UserID = fact.OrderID",
		service: orders.App, invariant: orders.InvariantNotice, calm: true},
	{name: "archived notices have no guard", file: "services/notifications/app/seal.go",
		old: `g.Record(ids, segment)`, new: `g.Record(nil, segment)`,
		service: notifications.App, invariant: notifications.InvariantDelivery, calm: true},
	{name: "the outbox keeps nothing", file: "services/notifications/app/outbox.go",
		old: "err := t.Add(channel, notices, claim", new: "err := t.Add(channel, nil, claim",
		service: notifications.App, invariant: notifications.InvariantMessage, calm: true, mail: true},
	{name: "a thread does not look for duplicates", file: "services/notifications/domain/delivery.go",
		old: "if !known || t.has(n.EventID) {", new: "if !known {",
		service: notifications.App, invariant: notifications.InvariantOneMessage, mail: true},
	{name: "a sent message is sent again", file: "services/notifications/domain/conclude.go",
		old:     "\td.Claim.By = by\n\td.Sends++",
		new:     "\td.Claim.By = by\n\tif d.Sends++; d.Sends == 1 {\n\t\td.State, d.NextAttemptAt = DeliveryWaiting, now\n\t}",
		service: notifications.App, invariant: notifications.InvariantSentOnce, calm: true, mail: true},
	{name: "an earlier status is sent after a later one", file: "services/notifications/domain/delivery.go",
		old: "return d.Rank > 0 && other.Rank > 0 && laterStatus(other, d) &&", new: "return false &&",
		service: notifications.App, invariant: notifications.InvariantMessageOrder, calm: true, mail: true},
	{name: "nobody counts what was sent", file: "services/notifications/domain/conclude.go",
		old: "\td.Claim.By = by\n\td.Sends++", new: "\td.Claim.By = by",
		service: notifications.App, invariant: notifications.InvariantMessageState, calm: true, mail: true},
	{name: "a mail goes to whoever has the order's number", file: "services/notifications/domain/delivery.go",
		old: "t.UserID, t.Channel, t.Subject = n.UserID, channel, threadSubject(n)", new: "t.UserID, t.Channel, t.Subject = n.Data.OrderID, channel, threadSubject(n)",
		service: notifications.App, invariant: notifications.InvariantThread, calm: true, mail: true},
	{name: "the wishes of people are not asked", file: "services/notifications/app/driver.go",
		old: "if !wishes.Wants(kind, t.Channel) {", new: "if wishes.Wants(kind, t.Channel) {",
		service: notifications.App, invariant: notifications.InvariantWishes, calm: true, mail: true},
	{name: "a message that is wanted is not stored", file: "services/notifications/app/outbox.go",
		old: "return !wishes.Wants(m.kind, m.channel) && !wishes.WantsEarlier(m.kind, m.channel)", new: "return wishes.Wants(m.kind, m.channel)",
		service: notifications.App, invariant: notifications.InvariantMessage, calm: true, mail: true},
	{name: "a release leaves no tombstone", file: "services/products/domain/commit.go",
		old: `return s.tombstone(o, ByOrder, s.SKU), true, nil`, new: `return Hold{OrderID: o.ID, State: Released}, false, nil`,
		service: orders.App, invariant: orders.InvariantGivenBack, seed: 21},
	{name: "a void leaves no tombstone", file: "services/payments/domain/void.go",
		old: "if !known {\n\t\th.PlacedAt, h.Reason = order.PlacedAt, contract.VoidedByOrder\n\t}", new: "if !known {\n\t\treturn Result{Outcome: contract.OutcomeVoided}, nil\n\t}",
		service: orders.App, invariant: orders.InvariantFree, seed: 13},
	{name: "the compensation forgets the money", file: "services/orders/app/saga.go",
		old: `Do: p.authorize, Undo: p.void},`, new: `Do: p.authorize},`,
		service: orders.App, invariant: orders.InvariantFree},
	{name: "a commit is repeated", file: "services/products/domain/commit.go",
		old: `case existing.State == Reserved:`, new: `case existing.State == Reserved || existing.State == Committed && state == Committed:`,
		service: products.App, invariant: products.InvariantStock},
	{name: "a reserve is repeated", file: "services/products/domain/reserve.go",
		old: "case existing != nil:\n\t\treturn *existing, false, nil\n\tcase micros", new: "case existing != nil && existing.State != Reserved:\n\t\treturn *existing, false, nil\n\tcase micros",
		service: products.App, invariant: products.InvariantHold},
	{name: "nobody looks whether there is enough", file: "services/products/domain/reserve.go",
		old: `case s.Level().Available() < c.Quantity:`, new: `case s.Level().Available() < c.Quantity-1_000_000:`,
		service: products.App, invariant: products.InvariantStock},
	{name: "leaves of the archive are not written", file: "services/products/domain/archive.go",
		old: `s.Archived.Add(&s.Root, `, new: `s.Archived.Add(new(document.Root), `,
		service: products.App, invariant: products.InvariantArchive, calm: true},
	{name: "a correction is booked and not counted", file: "services/products/domain/correct.go",
		old: "s.OnHand += c.Change\n\ts.Received += c.Change", new: "s.OnHand += c.Change",
		service: products.App, invariant: products.InvariantStock, calm: true},
	{name: "a line loses a cent", file: "services/products/app/quote.go",
		old: `UnitPrice: unit, LineTotal: total}, nil`, new: `UnitPrice: unit, LineTotal: money.New(int64(float64(total.Amount)*0.999), total.Currency)}, nil`,
		service: orders.App, invariant: orders.InvariantTotals, calm: true},
	{name: "only the first line is paid for", file: "services/orders/app/saga.go",
		old: `UserID: o.UserID, Amount: o.Total, PlacedAt: o.PlacedAt})`, new: `UserID: o.UserID, Amount: o.Lines[0].LineTotal, PlacedAt: o.PlacedAt})`,
		service: orders.App, invariant: orders.InvariantPaid, calm: true},
	{name: "a capture is repeated", file: "services/payments/domain/capture.go",
		old: "case h.State == Captured:\n\t\treturn Result{Outcome: contract.OutcomeCaptured}, nil\n", new: "",
		service: payments.App, invariant: payments.InvariantOperation},
	{name: "a deposit is booked again", file: "services/payments/domain/credit.go",
		old: `if p.Kind == KindDeposit && p.Operation == depositID {`, new: `if p.Kind == KindDeposit && p.Operation == depositID+"!" {`,
		service: payments.App, invariant: payments.InvariantOperation, seed: 10},
	{name: "the other side of a posting is forgotten", file: "services/payments/domain/account.go",
		old: `counters[p.CounterAccount] -= p.Amount`, new: `counters[p.CounterAccount] -= 0`,
		service: payments.App, invariant: payments.InvariantZeroSum, calm: true},
	{name: "a segment of a wallet opens with the wrong totals", file: "services/payments/domain/archive.go",
		old: `Opening: a.Archived.Books,`, new: `Opening: a.Books,`,
		service: payments.App, invariant: payments.InvariantArchive, calm: true},
	{name: "a refund is tried again under a new id", file: "services/orders/app/saga.go",
		old: `payments.Refund{RefundID: r.ID,`, new: `payments.Refund{RefundID: r.ID + fmt.Sprint(o.Revision),`,
		service: orders.App, invariant: orders.InvariantRefunded, seed: 22},
	{name: "an order is placed again each time", file: "services/orders/app/place_order.go",
		old: `orderID := OrderID(p.UserID, p.Key)`, new: `orderID := OrderID(p.UserID, p.Key+u.Clock.Now().String())`,
		service: orders.App, invariant: orders.InvariantKey, calm: true},
	{name: "an order is rejected when nobody answers", file: "services/orders/app/driver.go",
		old: "return d.wait(ctx, o, step.Name, err), true", new: "return abandon(contract.Rejected, domain.ReasonInsufficientFunds), true",
		service: orders.App, invariant: orders.InvariantReason},
	{name: "a reservation that failed is refused", file: "services/products/app/reserve_stock.go",
		old:     "if err != nil {\n\t\treturn contract.Reserved{}, err\n\t}\n\tif anchor.State",
		new:     "if err != nil {\n\t\treturn contract.Reserved{Outcome: contract.OutcomeOutOfStock}, nil\n\t}\n\tif anchor.State",
		service: orders.App, invariant: orders.InvariantReason},
	{name: "a payment that failed is refused", file: "services/payments/app/ledger.go",
		old:     "if err != nil {\n\t\treturn contract.Result{}, fmt.Errorf(\"%s order",
		new:     "if err != nil && what == \"authorizing\" {\n\t\treturn contract.Result{Outcome: contract.OutcomeInsufficientFunds}, nil\n\t}\n\tif err != nil {\n\t\treturn contract.Result{}, fmt.Errorf(\"%s order",
		service: orders.App, invariant: orders.InvariantReason},
	{name: "a deposit is declined when the bank does not answer", file: "services/payments/app/deposits.go",
		old: "\t\treturn deposit, nil\n\t}\n\tstatus", new: "\t}\n\tstatus",
		service: payments.App, invariant: payments.InvariantDeposit},
	{name: "a deposit is asked for again each time", file: "services/payments/app/deposit.go",
		old: `depositID := DepositID(r.UserID, r.Key)`, new: `depositID := DepositID(r.UserID, r.Key+u.clock.Now().String())`,
		service: payments.App, invariant: payments.InvariantDepositKey, calm: true},
	{name: "the last write wins", file: "internal/document/update.go",
		old: "u.base, u.warm = record, false\n\t\t\treturn false, true, nil", new: "u.base.ETag = record.ETag\n\t\t\treturn false, false, nil",
		service: users.App, invariant: users.InvariantClaim, seed: 66},
	{name: "what is published is not in the feed", file: "internal/document/update.go",
		old: "if u.repo.opts.Index == nil {", new: "if u.repo.opts.Index == nil || u.repo.opts.Relay != nil {",
		service: orders.App, invariant: feed.InvariantIndexed, calm: true},
	{name: "the index keeps one of those that waited", file: "internal/feed/index.go",
		old: `keys = slices.Compact(keys)`, new: `keys = slices.Compact(keys)[:1]`,
		service: users.App, invariant: feed.InvariantIndexed},
	{name: "a consumer does not note how far it came", file: "internal/feed/puller.go",
		old: `d.Settled = settled`, new: `return document.ErrUnchanged`,
		service: orders.App, invariant: orders.InvariantPulled, calm: true},
	{name: "all events of a document have one id", file: "internal/document/repository.go",
		old: `e.ID = event.ID(e.Source, e.Subject, e.Sequence)`, new: `e.ID = event.ID(e.Source, e.Subject, 1)`,
		service: orders.App, invariant: document.InvariantTimeline, calm: true},
}

// TestTheAuditSeesMutants builds the programs with one mistake at a time, runs them in simulated shops and checks that
// the audit names the violated invariant.
func TestTheAuditSeesMutants(t *testing.T) {
	if !*code {
		t.Skip("each mutant builds the programs again: ask for it with -planted.code")
	}
	if *mutated != "" {
		t.Skip("this is one of them")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			program := m.build(t)
			looking := exec.CommandContext(t.Context(), program, "-test.run=^TestMutant$", "-test.v", "-test.timeout=0",
				fmt.Sprintf("-planted.mutated=%s/%s/%t/%t", m.service, m.invariant, m.calm, m.mail), fmt.Sprintf("-planted.seeds=%d", *seeds),
				fmt.Sprintf("-planted.first=%d", max(m.seed, *first)))
			looking.Dir = filepath.Join(repository(), "test", "planted")
			output, err := looking.CombinedOutput()
			if err != nil {
				t.Errorf("the audit does not see it: %v\n%s", err, output)
			}
			for line := range strings.Lines(string(output)) {
				if strings.Contains(line, "code_test.go") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// TestMutantsFitTheCode notices when the text of a mutant has changed in the code, without a build.
func TestMutantsFitTheCode(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) { m.source(t) })
	}
}

// source returns the file to be changed, and its new content.
func (m mutant) source(t *testing.T) (file string, mistaken []byte) {
	t.Helper()
	file = filepath.Join(repository(), filepath.FromSlash(m.file))
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has %q %d times; the mutant has to follow the code", m.file, m.old, n)
	}
	return file, []byte(strings.Replace(string(source), m.old, m.new, 1))
}

// build compiles this test with the mistake.
func (m mutant) build(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	file, source := m.source(t)
	mistaken := filepath.Join(dir, filepath.Base(file))
	write(t, mistaken, source)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: mistaken}})
	if err != nil {
		t.Fatal(err)
	}
	replacing := filepath.Join(dir, "overlay.json")
	write(t, replacing, overlay)
	program = filepath.Join(dir, "mutant")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", replacing, "-o", program, "./test/planted")
	build.Dir = repository()
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, output)
	}
	return program
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// repository returns the folder of the module, from the path of this source file.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	if !filepath.IsAbs(file) { // with -trimpath; a test runs in the folder of its package
		root, err := filepath.Abs(filepath.Join("..", ".."))
		if err != nil {
			panic(err)
		}
		return root
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// calmShops is the number of shops without faults in which a mistake is searched. These shops differ little.
const calmShops = 3

// TestMutant runs in a mutant: one shop after the other, until the audit has the expected finding.
func TestMutant(t *testing.T) {
	if *mutated == "" {
		t.Skip("this is no mutant")
	}
	want := strings.Split(*mutated, "/")
	keys := t.TempDir()
	met := make(map[string]int)
	shops := *seeds
	if want[2] == "true" {
		shops = min(shops, calmShops)
	}
	for seed := *first; seed < *first+shops; seed++ {
		plan := sim.Seeded(seed, keys, quiet())
		plan.Size, plan.Hasty = sim.Size{Products: 2, Customers: 3, Orders: 5, Changes: 10, Stock: 20}, true
		if want[2] == "true" {
			plan = sim.Plan{Seed: seed, Size: map[bool]sim.Size{false: size, true: mailing}[want[3] == "true"], Keys: keys, Log: quiet(), Spoil: func(func(string) sim.Documents) {}}
		}
		plan.Faults.Email = plan.Faults.Email || want[3] == "true"
		result := sim.Run(t, plan)
		if names(result.Audit, want[0], want[1]) {
			t.Logf("seen with seed %d, by %s of %s", seed, want[1], want[0])
			return
		}
		for _, f := range result.Audit.Findings {
			met[f.Service+"/"+f.Invariant]++
		}
		if !result.Audit.Complete && len(result.Violations) > 0 {
			met[fmt.Sprintf("no audit: %.80s", result.Violations[0])]++
		}
	}
	t.Errorf("not seen in %d shops; found instead: %v", shops, met)
}
