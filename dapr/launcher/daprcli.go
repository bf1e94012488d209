package launcher

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher/manifest"
)

// PrepareDaprCLI makes the folder for the files of sidecars under the Dapr CLI. Without the folder the sidecars end.
func PrepareDaprCLI(root string) error {
	if err := os.MkdirAll(filepath.Join(root, ".dapr", "data"), 0o700); err != nil {
		return fmt.Errorf("making the folder for data: %w", err)
	}
	return nil
}

// checkDaprCLI reports what would prevent "dapr run -f dapr/dapr.yaml". The launcher needs none of it.
func checkDaprCLI(ctx context.Context, p *plan, root string, getenv func(string) string) Finding {
	path, err := exec.LookPath("dapr")
	if err != nil {
		return Finding{Optional, "dapr CLI", "not on the PATH", "only \"dapr run\" needs it, 1.17.1 or newer (docs/running.md)"}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, path, "--version").Output()
	version := cliVersion(string(output))
	var obstacles []string
	if err != nil || !recentCLI(version) {
		obstacles = append(obstacles, "it is older than 1.17.1, which is needed")
	}
	for _, file := range []string{"data", filepath.Join("bin", "daprd")} {
		if _, err := os.Stat(filepath.Join(root, ".dapr", file)); err != nil {
			obstacles = append(obstacles, filepath.Join(".dapr", file)+" is missing: go run ./dapr doctor --build")
		}
	}
	if getenv("APP_API_TOKEN") == "" {
		obstacles = append(obstacles, "APP_API_TOKEN is not set, and no program starts without it")
	}
	if getenv("DAPR_API_TOKEN") != "" {
		obstacles = append(obstacles, "DAPR_API_TOKEN is set, which the CLI does not send, so \"dapr stop -f\" finds nothing")
	}
	if address, err := p.brokerAddress(); err != nil {
		obstacles = append(obstacles, err.Error())
	} else if err := tryConnect(ctx, address); err != nil {
		obstacles = append(obstacles, fmt.Sprintf("no broker answers at %s: start one first, or the sidecars end", address))
	}
	if len(obstacles) > 0 {
		return Finding{Optional, "dapr CLI", version + " at " + path, strings.Join(obstacles, "; ")}
	}
	return Finding{Good, "dapr CLI", version + " at " + path, ""}
}

var cliVersionPattern = regexp.MustCompile(`(?m)^CLI version: v?(\S+)`)

// cliVersion returns the version of the CLI itself, one of the two that it prints.
func cliVersion(output string) string {
	if match := cliVersionPattern.FindStringSubmatch(output); match != nil {
		return match[1]
	}
	return "an unknown version"
}

// recentCLI reports whether a version is 1.17.1 or newer. It accepts "edge", the version of a CLI built from source.
func recentCLI(version string) bool {
	major, minor, known := parseVersion(version)
	if !known {
		return version == "edge"
	}
	patch, _, _ := strings.Cut(strings.SplitN(version, ".", 3)[2], "-")
	number, _ := strconv.Atoi(patch)
	return major > 1 || major == 1 && (minor > 17 || minor == 17 && number >= 1)
}

// brokerAddress is the address at which the component files expect the broker of the run file.
func (p *plan) brokerAddress() (string, error) {
	folder := filepath.Join(p.Apps[0].Dir, p.Broker)
	documents, err := manifest.ReadFolder(folder)
	if err != nil {
		return "", err
	}
	for _, d := range documents {
		if d.Component == nil {
			continue
		}
		for _, item := range d.Component.Spec.Metadata {
			address := item.Value
			if parsed, err := url.Parse(address); err == nil && parsed.Host != "" {
				address = parsed.Host
			}
			if host, port, err := net.SplitHostPort(address); err == nil && host != "" && port != "" {
				return address, nil
			}
		}
	}
	return "", fmt.Errorf("no component in %s says where the broker is", folder)
}

func tryConnect(ctx context.Context, address string) error {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}
