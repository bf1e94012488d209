package process

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheWorkOfAProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	before := TreeWork(os.Getpid())
	const calls = 1000
	for range calls {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		time.Sleep(time.Millisecond)
	}
	after := TreeWork(os.Getpid())
	if after.Calls-before.Calls < calls {
		t.Errorf("%d calls more after writing %d files", after.Calls-before.Calls, calls)
	}
	if after.Switches-before.Switches < 10 || after.CPU < before.CPU {
		t.Errorf("%+v after %+v", after, before)
	}
	if gone := TreeWork(1 << 30); gone != (Work{}) {
		t.Errorf("no process has done %+v", gone)
	}
}
