package launcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// LogStoreVersion is the version of VictoriaLogs, the store for log lines and spans. go.mod of dapr/observe pins the source.
const LogStoreVersion = "1.52.1"

var logStoreProgram = separateProgram{
	name: "victoria-logs", what: "the store for log lines and spans", version: LogStoreVersion, folder: filepath.Join("dapr", "observe"),
	pkg:     "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs",
	ldflags: "-s -w -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-logs-v" + LogStoreVersion,
}

// builtLogStore returns the place of the store for log lines and spans that is built from dapr/observe, with a key of its source
// and the compiler, and whether it was built. platform is such as linux/amd64.
func builtLogStore(root, bin, platform string) (path string, built bool, err error) {
	hash := sha256.New()
	if err := hashFolder(hash, filepath.Join(root, logStoreProgram.folder), ""); err != nil {
		return "", false, fmt.Errorf("reading the module of the store for log lines: %w", err)
	}
	fmt.Fprintf(hash, "%s %s", runtime.Version(), platform)
	key := hex.EncodeToString(hash.Sum(nil))[:16]
	path = filepath.Join(buildCache(bin), logStoreProgram.name+"-"+LogStoreVersion+"-"+key, logStoreProgram.name)
	_, err = os.Stat(path)
	return path, err == nil, nil
}

// EnsureLogStore returns the path of the store for log lines and spans, and builds it if there is none. It writes progress to log.
func EnsureLogStore(ctx context.Context, root, bin string, log io.Writer) (string, error) {
	return ensureLogStore(ctx, root, bin, thisPlatform, log)
}

func ensureLogStore(ctx context.Context, root, bin, platform string, log io.Writer) (string, error) {
	path, _, err := builtLogStore(root, bin, platform)
	if err != nil {
		return "", err
	}
	return path, buildOnce(path, func() error { return logStoreProgram.build(ctx, root, path, platform, log) })
}

func checkLogStore(root, dir string) Finding {
	path, built, err := builtLogStore(root, BinFolder(dir), thisPlatform)
	switch {
	case err != nil:
		return Finding{Bad, "log store", err.Error(), ""}
	case !built:
		return Finding{
			Optional, "log store", "VictoriaLogs " + LogStoreVersion + " is not built",
			"needed for up --observe logs, which builds it in some minutes; or now: go run ./dapr doctor --build",
		}
	}
	return Finding{Good, "log store", fmt.Sprintf("VictoriaLogs %s at %s", LogStoreVersion, path), ""}
}
