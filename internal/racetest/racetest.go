// Package racetest makes property tests cheaper where the race detector watches them.
//
// Under the detector a case costs ten times as much, most of it for encoding and decoding documents. It looks for races, and a
// few cases have all the interleavings of goroutines that many have. The many cases look for faults in the rules, and CI runs
// them without the detector.
package racetest

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// cases is how many cases of a property a test tries under the race detector. Without it there are 100.
const cases = 20

// Main is the TestMain of a package with expensive properties. The flag -rapid.checks of the command line has precedence.
func Main(m *testing.M) {
	if detector {
		if err := flag.Set("rapid.checks", strconv.Itoa(cases)); err != nil {
			fmt.Fprintln(os.Stderr, "the package has no properties:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
