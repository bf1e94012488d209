package launcher

import (
	"context"
	"io"
)

// LogStoreVersion is the version of VictoriaLogs, the store for log lines and spans. go.mod of dapr/observe pins the source.
const LogStoreVersion = "1.52.1"

var logStoreProgram = separateProgram{
	name: "victoria-logs", what: "the store for log lines and spans", version: LogStoreVersion, folder: observeFolder,
	pkg:     "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs",
	ldflags: "-s -w -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-logs-v" + LogStoreVersion,
}

// EnsureLogStore returns the path of the store for log lines and spans, and builds it if there is none. It writes progress to log.
func EnsureLogStore(ctx context.Context, root, bin string, log io.Writer) (string, error) {
	return logStoreProgram.ensure(ctx, root, bin, thisPlatform, log)
}

func checkLogStore(root, dir string) Finding {
	return logStoreProgram.check(root, dir, "log store", "VictoriaLogs", ObserveLogs)
}
