package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestComposeInstance(t *testing.T) {
	for tag, want := range map[string]string{
		"caravan/orders/1": "orders", "caravan/orders-2-daprd/1": "orders-2-daprd", "caravan/orders/3": "orders-3", "caravan/orders-daprd/3": "orders-3-daprd",
		"caravan/orders/": "orders", "other/orders/1": "", "caravan-2/orders/1": "", "caravan": "", "": "",
	} {
		if got := composeInstance("caravan", tag); got != want {
			t.Errorf("%q is the process %q, want %q", tag, got, want)
		}
	}
}

func TestPodInstance(t *testing.T) {
	for path, want := range map[string]string{
		"caravan_orders-7d9f8b6c5d-bcdfg_0190/program/0.log":   "orders-7d9f8b6c5d-bcdfg",
		"caravan_orders-7d9f8b6c5d-bcdfg_0190/daprd/3.log":     "orders-7d9f8b6c5d-bcdfg-daprd",
		"caravan_broker-0_0190/rabbitmq/0.log.20261127-090000": "broker-0",
		"x/program/0.log": "",
	} {
		if _, got := pods(nil).owner(filepath.Join("/var/log/pods", path), ""); got != want {
			t.Errorf("%s is of %q, want %q", path, got, want)
		}
	}
}

// TestOnlyLogsOfTheProjectAreFound lists folders as engines have them.
func TestOnlyLogsOfTheProjectAreFound(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Minute)
	for _, path := range []string{
		"docker/aa/aa-json.log", "docker/aa/aa-json.log.1", "docker/aa/aa-json.log.2.gz", "docker/aa/config.v2.json", "docker/aa/bb-json.log", "docker/file",
		"pods/caravan_orders-x_1/program/0.log", "pods/caravan_orders-x_1/program/1.log", "pods/caravan_orders-x_1/program/1.log.20261127-090000",
		"pods/caravan_orders-x_1/program/1.log.20261127-080000.gz", "pods/caravan_orders-x_1/program/1.log.20261127-080000.tmp", "pods/caravan_orders-x_1/program/x.log",
		"pods/caravan-observe_collector_1/collector/0.log", "pods/kube-system_dns_1/dns/0.log",
	} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x\n"), 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("0.log", filepath.Join(dir, "pods/caravan_orders-x_1/program/2.log")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		engine *engine
		want   []string
	}{
		"docker": {docker("caravan"), []string{"aa/aa-json.log", "aa/aa-json.log.1 ended"}},
		"pods": {pods([]string{"caravan"}), []string{
			"caravan_orders-x_1/program/0.log ended", "caravan_orders-x_1/program/1.log ended", "caravan_orders-x_1/program/1.log.20261127-090000 ended",
		}},
	} {
		var got []string
		if err := test.engine.list(filepath.Join(dir, name), time.Now(), func(file listed) {
			path, _ := filepath.Rel(filepath.Join(dir, name), file.path)
			if file.ended {
				path += " ended"
			}
			got = append(got, path)
		}); err != nil {
			t.Error(err)
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("%s: found %q, want %q", name, got, test.want)
		}
	}
	if err := docker("caravan").list(filepath.Join(dir, "nothing"), time.Now(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder is %v", err)
	}
}

// lines returns what the records make, at their numbers.
func lines(e *engine, parts ...string) (got []string) {
	j := joiner{engine: e, visit: func(line logged) { got = append(got, fmt.Sprintf("%d %s", line.offset, line.text)) }}
	for i, part := range parts {
		j.add([]byte(part), int64(i), int64(i)+1)
	}
	return got
}

func TestPartsAreJoined(t *testing.T) {
	cri := func(second int, rest string) string { return fmt.Sprintf("2026-11-27T09:00:%02dZ %s", second, rest) }
	json := func(second int, stream, text string) string {
		return fmt.Sprintf(`{"log":"%s","stream":"%s","time":"2026-11-27T09:00:%02dZ"}`, text, stream, second)
	}
	for name, test := range map[string]struct {
		engine *engine
		parts  []string
		want   []string
	}{
		"whole lines":   {pods(nil), []string{cri(1, "stdout F a"), cri(1, "stderr F b")}, []string{"0 a", "1 b"}},
		"parts":         {pods(nil), []string{cri(1, "stdout P a"), cri(2, "stdout P b"), cri(3, "stdout F c"), cri(3, "stdout F d")}, []string{"0 abc", "3 d"}},
		"both streams":  {pods(nil), []string{cri(1, "stdout P a"), cri(1, "stderr P x"), cri(1, "stdout F b"), cri(1, "stdout F c"), cri(1, "stderr F y")}, []string{"0 ab", "3 c", "1 xy"}},
		"open":          {pods(nil), []string{cri(1, "stdout P a"), cri(1, "stderr F x")}, nil},
		"never ended":   {pods(nil), []string{cri(1, "stdout P a"), cri(2, "stderr F x"), cri(12, "stderr F y")}, []string{"1 x", "0 a", "2 y"}},
		"no record":     {pods(nil), []string{"text", cri(1, "stdout F a")}, []string{"0 text", "1 a"}},
		"too long":      {pods(nil), []string{cri(1, "stdout P "+strings.Repeat("a", longestLine)), cri(1, "stdout F b")}, []string{"0 " + strings.Repeat("a", longestLine), "1 b"}},
		"Docker":        {docker(""), []string{json(1, "stdout", "a"), json(3, "stderr", `x\n`), json(1, "stdout", `b\n`)}, []string{"1 x", "0 ab"}},
		"Docker, crash": {docker(""), []string{json(1, "stdout", "a"), json(2, "stdout", `b\n`)}, []string{"0 a", "1 b"}},
	} {
		if got := lines(test.engine, test.parts...); !slices.Equal(got, test.want) {
			t.Errorf("%s: %.300q, want %.300q", name, got, test.want)
		}
	}
}

// TestLinesDependOnTheFileAlone reads files while they grow, and at once: the lines are the same, so that no kill changes them.
func TestLinesDependOnTheFileAlone(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		var content []byte
		at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
		for range 60 {
			at = at.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
			content = fmt.Appendf(content, "%s %s %s %d\n", at.Format(time.RFC3339Nano), []string{"stdout", "stderr", "other"}[random.IntN(7)/3], []string{"P", "P", "F"}[random.IntN(3)], random.IntN(1000))
		}
		path := filepath.Join(t.TempDir(), "0.log")
		read := func(steps bool) (got []string) {
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			s := &source{file: file, folder: &folder{engine: pods(nil)}}
			buffer := make([]byte, 700)
			for rest := content; ; {
				n := len(rest)
				if steps {
					n = min(n, 1+random.IntN(300))
				}
				if _, err := file.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				s.ended = len(rest) == 0
				for more := true; more; {
					if more, err = s.readLines(buffer, func(line logged) { got = append(got, fmt.Sprintf("%d %s", line.offset, line.text)) }); err != nil {
						t.Fatal(err)
					}
				}
				if s.ended {
					return got
				}
			}
		}
		if grown, atOnce := read(true), read(false); !slices.Equal(grown, atOnce) {
			t.Fatalf("seed %d: %q, at once %q", seed, grown, atOnce)
		}
	}
}

// TestOtherProjectsAreLeftOut: a container of another project is not read, nor one without a tag.
func TestOtherProjectsAreLeftOut(t *testing.T) {
	s := newScene(t)
	s.folders = foldersOf(s, byDocker)
	s.restart()
	ours := newJournal(s, byDocker, "orders")
	for _, tag := range []string{`"attrs":{"tag":"other/orders/1"},`, ""} {
		folder := filepath.Join(s.dir, "containers", "ff"+fmt.Sprint(len(tag)))
		record := `{"log":"secret\n","stream":"stdout",` + tag + `"time":"2026-11-27T09:00:00Z"}` + "\n"
		if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, filepath.Base(folder)+"-json.log"), []byte(record), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	ours.put(0, "ours", false)
	s.passes(3)
	s.check()
	if len(s.shipper.sources) != 1 || len(s.shipper.ignored) != 2 {
		t.Errorf("%d files are open, %d are ignored", len(s.shipper.sources), len(s.shipper.ignored))
	}
	// Another collector keeps an open line for the engine to complete.
	ours.put(0, "half", true)
	s.shipper.drain(t.Context())
	s.restart()
	ours.put(0, " and half", false)
	s.passes(3)
	s.check()
}
