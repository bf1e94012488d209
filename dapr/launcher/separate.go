package launcher

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"caravan/internal/clock"
)

// separateProgram is a program of a module of its own, because its dependencies should not be those of the product.
type separateProgram struct {
	name    string // of the binary
	what    string // for people
	version string
	folder  string // of the module in the repository
	pkg     string
	ldflags string
}

// buildCache is where separate programs are kept: in the user's cache, so that a second clone of the repository does not build them
// again.
func buildCache(bin string) string {
	cache, err := os.UserCacheDir()
	if err != nil { // without HOME, they are kept beside the programs
		cache = filepath.Join(filepath.Dir(bin), "cache")
	}
	return filepath.Join(cache, "caravan")
}

// observeFolder has the module that pins the programs that observe.
var observeFolder = filepath.Join("dapr", "observe")

// pinned returns the place of a program that its module only pins, and whether it was built. Its key is of go.mod and the compiler. platform is such as
// linux/amd64.
func (p separateProgram) pinned(root, bin, platform string) (path string, built bool, err error) {
	module, err := os.ReadFile(filepath.Join(root, p.folder, "go.mod"))
	if err != nil {
		return "", false, fmt.Errorf("reading the module of %s: %w", p.what, err)
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", module, runtime.Version(), platform))
	path = filepath.Join(buildCache(bin), p.name+"-"+p.version+"-"+hex.EncodeToString(key[:])[:16], p.name)
	_, err = os.Stat(path)
	return path, err == nil, nil
}

// ensure returns the path of a pinned program, and builds it if there is none.
func (p separateProgram) ensure(ctx context.Context, root, bin, platform string, log io.Writer) (string, error) {
	path, _, err := p.pinned(root, bin, platform)
	if err != nil {
		return "", err
	}
	return path, buildOnce(path, func() error { return p.build(ctx, root, path, platform, log) })
}

// check says whether a pinned program is built. choice is the choice of --observe that needs it.
func (p separateProgram) check(root, dir, what, product, choice string) Finding {
	path, built, err := p.pinned(root, BinFolder(dir), thisPlatform)
	switch {
	case err != nil:
		return Finding{Bad, what, err.Error(), ""}
	case !built:
		return Finding{
			Optional, what, product + " " + p.version + " is not built",
			"needed for up --observe " + choice + ", which builds it in some minutes; or now: go run ./dapr doctor --build",
		}
	}
	return Finding{Good, what, fmt.Sprintf("%s %s at %s", product, p.version, path), ""}
}

// buildOnce calls build unless the target exists. Two processes do not build the same target at once.
func buildOnce(target string, build func() error) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	unlock, err := lockFile(filepath.Dir(target) + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil { // another process built it meanwhile
		return nil
	}
	return build()
}

// build builds the program. The first build takes minutes, so it reports progress: packages compiled, of all packages.
func (p separateProgram) build(ctx context.Context, root, target, platform string, log io.Writer) error {
	began := time.Now()
	source := filepath.Join(root, p.folder)
	fmt.Fprintf(log, "Building %s for %s. This happens once and takes some minutes; later starts find it in %s.\n", p.what, platform, filepath.Dir(target))
	progress := &buildProgress{what: p.name, platform: platform, log: log, began: began}
	defer progress.tell(ctx)()
	// Listing the packages of the build downloads them, which is the first half of the wait.
	packages, err := progress.run(ctx, source, "list", "-deps", p.pkg)
	if err != nil {
		return err
	}
	progress.total.Store(int64(bytes.Count(packages, []byte("\n"))))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("building %s: %w", p.name, err)
	}
	partial := target + ".partial"
	if _, err := progress.run(ctx, source, "build", "-v", "-trimpath", "-ldflags", p.ldflags, "-o", partial, p.pkg); err != nil {
		return err
	}
	if err := os.Rename(partial, target); err != nil {
		return fmt.Errorf("building %s: %w", p.name, err)
	}
	fmt.Fprintf(log, "Built %s %s in %s.\n", p.name, p.version, time.Since(began).Round(time.Second))
	return nil
}

// buildProgress counts the names that go build -v prints.
type buildProgress struct {
	what       string
	platform   string
	log        io.Writer
	began      time.Time
	total      atomic.Int64
	compiled   atomic.Int64
	downloaded atomic.Int64
}

// run runs a go command in the folder, counts its messages, and returns its standard output.
func (p *buildProgress) run(ctx context.Context, folder string, args ...string) ([]byte, error) {
	command := goCommand(ctx, folder, args[0], args[1:]...)
	system, arch, _ := strings.Cut(p.platform, "/")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+system, "GOARCH="+arch)
	var output bytes.Buffer
	command.Stdout = &output
	progress, err := command.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", p.what, err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("building %s: %w", p.what, err)
	}
	trouble := p.read(progress)
	if err := command.Wait(); err != nil {
		return nil, fmt.Errorf("building %s: %w\n%s", p.what, err, trouble)
	}
	return output.Bytes(), nil
}

// read counts until the output ends, and returns the lines that are not about progress.
func (p *buildProgress) read(output io.Reader) string {
	var trouble strings.Builder
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := scanner.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			p.downloaded.Add(1)
		case !strings.ContainsAny(line, " :#"):
			p.compiled.Add(1)
		default:
			trouble.WriteString(line + "\n")
		}
	}
	return trouble.String()
}

// tell prints the count every few seconds until stop is called.
func (p *buildProgress) tell(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for (clock.System{}).Sleep(ctx, 3*time.Second) == nil {
			fmt.Fprintln(p.log, p.line())
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (p *buildProgress) line() string {
	of := ""
	if total := p.total.Load(); total > 0 {
		of = fmt.Sprintf(" of at most %d", total)
	}
	return fmt.Sprintf("  %s: %d modules downloaded, %d%s packages compiled, %s", p.what, p.downloaded.Load(), p.compiled.Load(), of, time.Since(p.began).Round(time.Second))
}
