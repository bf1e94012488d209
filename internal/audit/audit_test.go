package audit_test

import (
	"encoding/json"
	"testing"

	"caravan/internal/audit"
)

func TestAPageTellsWhatWasCheckedAndWhatWasNot(t *testing.T) {
	p := audit.NewPage("held", "broken", "never")
	if !p.Check(true, "held", "k1", "") || p.Check(false, "broken", "k2", "%d of %d", 1, 2) {
		t.Error("Check does not return what it was told")
	}
	p.Add(audit.Results{Findings: []audit.Finding{{Invariant: "other", Key: "k3", Detail: "d"}}, Checked: map[string]int64{"other": 1, "held": 2}})
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"findings":[{"invariant":"broken","key":"k2","detail":"1 of 2"},{"invariant":"other","key":"k3","detail":"d"}],` +
		`"checked":{"broken":1,"held":3,"never":0,"other":1},"counts":{}}`
	if string(encoded) != want {
		t.Errorf("the page is %s; want %s", encoded, want)
	}
}
