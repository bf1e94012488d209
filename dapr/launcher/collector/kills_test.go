package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// journal is the log of one process, as the launcher or a container engine writes it.
type journal struct {
	s      *scene
	style  string
	name   string
	folder string
	starts int       // of the container
	turned int       // rotations
	clock  time.Time // of the last record
	// open is what is written of a line that is not complete, by stream, and since its time.
	open  [2]string
	since [2]time.Time
}

// The styles of log files.
const (
	byLauncher = "launcher"
	byDocker   = "docker"
	byCRI      = "cri"
)

// newJournal makes the log of a process, and has the scene follow its folder.
func newJournal(s *scene, style, name string) *journal {
	s.t.Helper()
	j := &journal{s: s, style: style, name: name, folder: filepath.Join(s.dir, "logs"), clock: s.clock}
	switch style {
	case byDocker:
		j.folder = filepath.Join(s.dir, "containers", "0123"+name)
	case byCRI:
		j.folder = filepath.Join(s.dir, "pods", "caravan_"+name+"-7d9f8b6c5d-bcdfg_a-b", "program")
	}
	if err := os.MkdirAll(j.folder, 0o700); err != nil {
		s.t.Fatal(err)
	}
	return j
}

// foldersOf are what a collector follows for a style.
func foldersOf(s *scene, style string) []folder {
	switch style {
	case byDocker:
		return []folder{{path: filepath.Join(s.dir, "containers"), engine: docker("caravan")}}
	case byCRI:
		return []folder{{path: filepath.Join(s.dir, "pods"), engine: pods([]string{"caravan"})}}
	}
	return s.folders
}

func (j *journal) path() string {
	switch j.style {
	case byDocker:
		return filepath.Join(j.folder, filepath.Base(j.folder)+"-json.log")
	case byCRI:
		return filepath.Join(j.folder, strconv.Itoa(j.starts)+".log")
	}
	return filepath.Join(j.folder, j.name+".log")
}

// put writes a part of a line, or its end.
func (j *journal) put(stream int, text string, partial bool) {
	j.s.t.Helper()
	j.clock = j.clock.Add(time.Millisecond)
	if j.open[stream] == "" {
		j.since[stream] = j.clock
	}
	record := text + "\n"
	names := []string{"stdout", "stderr"}
	switch {
	case j.style == byCRI && partial:
		record = fmt.Sprintf("%s %s P %s\n", j.clock.Format(time.RFC3339Nano), names[stream], text)
	case j.style == byCRI:
		record = fmt.Sprintf("%s %s F %s\n", j.clock.Format(time.RFC3339Nano), names[stream], text)
	case j.style == byDocker:
		if !partial {
			text += "\n"
		}
		raw, err := json.Marshal(map[string]any{
			"log": text, "stream": names[stream], "time": j.since[stream], "attrs": map[string]string{"tag": "caravan/" + j.name + "/1"},
		})
		if err != nil {
			j.s.t.Fatal(err)
		}
		record = string(raw) + "\n"
	case partial:
		record = text
	}
	file, err := os.OpenFile(j.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		j.s.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(record); err != nil {
		j.s.t.Fatal(err)
	}
	if j.open[stream] += strings.TrimSuffix(text, "\n"); !partial {
		j.s.want = append(j.s.want, j.open[stream])
		j.open[stream] = ""
	}
}

// whole reports whether no line is open.
func (j *journal) whole() bool { return j.open[0]+j.open[1] == "" }

// finish completes all lines.
func (j *journal) finish() {
	for stream, text := range j.open {
		if text != "" {
			j.put(stream, "end", false)
		}
	}
}

// rotate starts another file, if what the engine then removes was read.
func (j *journal) rotate(random *rand.Rand) {
	path := j.path()
	if !j.whole() {
		return
	}
	switch j.style {
	case byDocker:
		if j.removable(path + ".2") {
			_ = os.Rename(path+".1", path+".2")
			_ = os.Rename(path, path+".1")
		}
	case byCRI:
		j.turned++
		older, _ := filepath.Glob(path + ".*")
		_ = os.Rename(path, fmt.Sprintf("%s.20261127-%06d", path, j.turned))
		for _, file := range older {
			if j.removable(file) { // the kubelet replaces it by a compressed one
				_ = os.WriteFile(file+".gz", []byte("compressed"), 0o600)
				_ = os.Remove(file)
			}
		}
		if random.IntN(3) == 0 {
			j.starts++
		}
	default:
		if j.removable(path + ".1") {
			_ = os.Rename(path, path+".1")
		}
	}
}

func (j *journal) removable(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err) || j.s.allRead(path)
}

// TestNothingIsLostOrDoubled lets everything go wrong in random order: kills of collector and store, a store that does not
// answer, answers that are lost, rotations, lines in parts. In the end every line is in the store once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	for _, style := range []string{byLauncher, byDocker, byCRI} {
		for seed := range uint64(25) {
			t.Run(fmt.Sprint(style, "/", seed), func(t *testing.T) { lettingAllGoWrong(t, style, seed) })
		}
	}
}

func lettingAllGoWrong(t *testing.T, style string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	s := newScene(t)
	s.folders = foldersOf(s, style)
	s.restart()
	journals := []*journal{newJournal(s, style, "orders"), newJournal(s, style, "orders-daprd"), newJournal(s, style, "broker")}
	written := 0
	for range 400 {
		j := journals[random.IntN(len(journals))]
		switch random.IntN(24) {
		case 0:
			s.store.kill()
		case 1:
			s.store.fails = true
		case 2, 3:
			s.store.fails = false
		case 4:
			s.store.losesOne = true
		case 5:
			s.restart()
		case 6:
			if random.IntN(4) == 0 {
				s.passes(safeAfter)
			}
		case 7:
			j.rotate(random)
		case 8, 9, 10, 11:
			for range random.IntN(5) {
				written++
				stream := 0
				if style != byLauncher {
					stream = random.IntN(2)
				}
				j.put(stream, fmt.Sprintf("line %d;", written), random.IntN(6) == 0)
			}
		default:
			s.passes(1)
		}
	}
	for _, j := range journals {
		j.finish()
	}
	s.store.fails, s.store.losesOne = false, false
	s.passes(10)
	s.check()
}
