package launcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Sidecar is a daprd that this launcher may run.
type Sidecar struct {
	Path    string
	Version string // as it reports itself; "" if it does not
	Source  string // where it was found: "--daprd", "PATH", "~/.dapr/bin", "built"
}

// This is the oldest daprd whose RabbitMQ component recovers from a lost subscription and whose invocation does not
// buffer a body of unknown length (release notes of 1.17.2 and 1.17.7).
const minMajor, minMinor = 1, 17

// SidecarVersion is the version that the daprd built here reports. go.mod of dapr/daprd pins the source.
const SidecarVersion = "1.18.1"

const thisPlatform = runtime.GOOS + "/" + runtime.GOARCH

// findSidecar returns the given daprd, or the first that is new enough on the PATH and in ~/.dapr/bin, or the one built
// earlier. ok is false when one has to be built.
func findSidecar(ctx context.Context, given, root, bin string, getenv func(string) string) (found Sidecar, ok bool, err error) {
	if given != "" {
		path, err := filepath.Abs(given)
		if err != nil {
			return Sidecar{}, false, fmt.Errorf("finding daprd: %w", err)
		}
		version, recent, err := askVersion(ctx, path)
		if err != nil {
			return Sidecar{}, false, err
		}
		// A daprd built from source says "edge" or nothing. The user who names it knows its version.
		if _, _, known := parseVersion(version); known && !recent {
			return Sidecar{}, false, fmt.Errorf("%s is version %s; at least %d.%d is needed", path, version, minMajor, minMinor)
		}
		return Sidecar{Path: path, Version: version, Source: "--daprd"}, true, nil
	}
	for _, candidate := range sidecarCandidates(getenv) {
		if version, recent, err := askVersion(ctx, candidate.Path); err == nil && recent {
			candidate.Version = version
			return candidate, true, nil
		}
	}
	built, err := builtSidecar(root, bin, thisPlatform)
	if err != nil {
		return Sidecar{}, false, err
	}
	_, err = os.Stat(built.Path)
	return built, err == nil, nil
}

func sidecarCandidates(getenv func(string) string) []Sidecar {
	var candidates []Sidecar
	if path, err := exec.LookPath("daprd"); err == nil {
		candidates = append(candidates, Sidecar{Path: path, Source: "PATH"})
	}
	if home := getenv("HOME"); home != "" {
		candidates = append(candidates, Sidecar{Path: filepath.Join(home, ".dapr", "bin", "daprd"), Source: "~/.dapr/bin"})
	}
	return candidates
}

func askVersion(ctx context.Context, path string) (version string, recent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", false, fmt.Errorf("asking %s for its version: %w", path, err)
	}
	version = strings.TrimSpace(string(output))
	major, minor, known := parseVersion(version)
	return version, known && (major > minMajor || major == minMajor && minor >= minMinor), nil
}

var versionPattern = regexp.MustCompile(`^v?(\d+)\.(\d+)\.`)

func parseVersion(version string) (major, minor int, known bool) {
	match := versionPattern.FindStringSubmatch(version)
	if match == nil {
		return 0, 0, false
	}
	major, _ = strconv.Atoi(match[1])
	minor, _ = strconv.Atoi(match[2])
	return major, minor, true
}

// builtSidecar returns the place of the daprd that is built from dapr/daprd: in the user's cache, with a key of its
// source and the compiler, so that a second clone of the repository does not build it again. platform is such as
// linux/amd64.
func builtSidecar(root, bin, platform string) (Sidecar, error) {
	hash := sha256.New()
	source := filepath.Join(root, "dapr", "daprd")
	folders, err := sidecarFolders(source)
	if err != nil {
		return Sidecar{}, fmt.Errorf("reading the source of daprd: %w", err)
	}
	for _, folder := range folders {
		if err := hashFolder(hash, source, folder); err != nil {
			return Sidecar{}, fmt.Errorf("reading the source of daprd: %w", err)
		}
	}
	fmt.Fprintf(hash, "%s %s", runtime.Version(), platform)
	key := hex.EncodeToString(hash.Sum(nil))[:16]
	return Sidecar{
		Path:    filepath.Join(buildCache(bin), "daprd-"+SidecarVersion+"-"+key, "daprd"),
		Version: SidecarVersion, Source: "built",
	}, nil
}

// sidecarFolders are the folders with the packages of daprd.
func sidecarFolders(source string) ([]string, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return nil, err
	}
	folders := []string{""}
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != "storecopy" { // which is another program
			folders = append(folders, entry.Name())
		}
	}
	return folders, nil
}

// hashFolder adds the files of a folder, without its sub-folders and tests.
func hashFolder(hash io.Writer, source, folder string) error {
	files, err := os.ReadDir(filepath.Join(source, folder))
	if err != nil {
		return err
	}
	for _, file := range files {
		if file.IsDir() || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(source, folder, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%s %d\n%s", filepath.Join(folder, file.Name()), len(content), content)
	}
	return nil
}

// EnsureSidecar returns a daprd that can be run, and builds one if there is none. It writes progress to log. It also
// makes a link named daprd in the folder bin, because the stock Dapr CLI looks for it in the repository's .dapr.
func EnsureSidecar(ctx context.Context, root, bin, given string, log io.Writer) (Sidecar, error) {
	sidecar, ok, err := findSidecar(ctx, given, root, bin, os.Getenv)
	if err != nil {
		return Sidecar{}, err
	}
	if !ok {
		fmt.Fprintf(log, "No daprd of at least %d.%d was found (--daprd, PATH, ~/.dapr/bin): building one from %s.\n",
			minMajor, minMinor, filepath.Join(root, "dapr", "daprd"))
		if err := ensureBuilt(ctx, root, sidecar.Path, thisPlatform, log); err != nil {
			return Sidecar{}, err
		}
	}
	return sidecar, linkSidecar(bin, sidecar.Path)
}

// ensureBuilt builds dapr/daprd at the place that builtSidecar returns, unless it exists.
func ensureBuilt(ctx context.Context, root, target, platform string, log io.Writer) error {
	return buildOnce(target, func() error { return buildSidecar(ctx, root, target, platform, log) })
}

func linkSidecar(bin, target string) error {
	link := filepath.Join(bin, "daprd")
	if current, err := os.Readlink(link); err == nil && current == target || link == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return fmt.Errorf("linking daprd: %w", err)
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("linking daprd: %w", err)
	}
	if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("linking daprd: %w", err)
	}
	return nil
}

// buildSidecar builds dapr/daprd.
func buildSidecar(ctx context.Context, root, target, platform string, log io.Writer) error {
	return separateProgram{
		name: "daprd", what: "the sidecar", version: SidecarVersion, folder: filepath.Join("dapr", "daprd"), pkg: ".",
		ldflags: "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=" + SidecarVersion,
	}.build(ctx, root, target, platform, log)
}
