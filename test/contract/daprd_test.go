package contract

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"caravan/dapr/launcher"
)

// sidecarProgram returns the path of daprd: CARAVAN_DAPRD, or the one that the launcher finds or builds.
func sidecarProgram(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // the first time, it is built
	defer cancel()
	sidecar, err := launcher.EnsureSidecar(ctx, root, filepath.Join(root, ".dapr", "bin"), os.Getenv("CARAVAN_DAPRD"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return sidecar.Path
}
