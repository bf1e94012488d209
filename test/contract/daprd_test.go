package contract

import (
	"os"
	"testing"
)

// sidecarProgram is where daprd is.
func sidecarProgram(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CARAVAN_DAPRD"); path != "" {
		return path
	}
	t.Skip("CARAVAN_DAPRD is not set")
	return ""
}
