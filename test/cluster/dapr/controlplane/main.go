// Command controlplane is the part of Dapr's control plane that Caravan uses, in one
// binary: operator, injector and sentry. The first argument or the name it is
// called by says which.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	injector "github.com/dapr/dapr/cmd/injector/app"
	operator "github.com/dapr/dapr/cmd/operator/app"
	sentry "github.com/dapr/dapr/cmd/sentry/app"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "controlplane" && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	switch name {
	case "injector":
		injector.Run()
	case "operator":
		operator.Run()
	case "sentry":
		sentry.Run()
	default:
		fmt.Fprintf(os.Stderr, "controlplane: no program %q\n", name)
		os.Exit(2)
	}
}
