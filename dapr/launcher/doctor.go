package launcher

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
)

// Severity says how important a finding is.
type Severity int

// The severities of a finding.
const (
	Good     Severity = iota // present
	Optional                 // missing, and a stack runs without it
	Bad                      // a stack cannot run
)

// Finding is one thing that a machine has or lacks.
type Finding struct {
	Severity Severity
	What     string
	Detail   string
	Advice   string // what to do about it; "" if nothing
}

// Diagnose checks what a stack of the repository needs on this machine.
func Diagnose(ctx context.Context, root, dir, daprd string) ([]Finding, error) {
	plan, err := readPlan(filepath.Join(root, "dapr", "dapr.yaml"))
	if err != nil {
		return nil, err
	}
	findings := []Finding{checkSystem(), checkGo(ctx), checkSidecar(ctx, root, dir, daprd), checkLogStore(root, dir), checkMetricStore(root, dir)}
	findings = append(findings, checkServers()...)
	findings = append(findings, checkDaprCLI(ctx, plan, root, os.Getenv))
	findings = append(findings, checkFiles(plan), checkPath(root, dir), checkDisk(dir))
	return append(findings, checkPlanPorts(ctx, plan, dir)...), nil
}

func checkSystem() Finding {
	if runtime.GOOS != "linux" {
		return Finding{Bad, "system", runtime.GOOS, "the launcher needs Linux; use WSL or a virtual machine"}
	}
	return Finding{Good, "system", fmt.Sprintf("linux/%s, %d processors", runtime.GOARCH, runtime.NumCPU()), ""}
}

func checkGo(ctx context.Context) Finding {
	output, err := exec.CommandContext(ctx, "go", "version").Output()
	if err != nil {
		return Finding{Bad, "go", "not on the PATH", "https://go.dev/dl/"}
	}
	return Finding{Good, "go", strings.TrimSpace(strings.TrimPrefix(string(output), "go version ")), ""}
}

func checkSidecar(ctx context.Context, root, dir, given string) Finding {
	sidecar, ok, err := findSidecar(ctx, given, root, BinFolder(dir), os.Getenv)
	switch {
	case err != nil:
		return Finding{Bad, "daprd", err.Error(), "give another with --daprd, or none to have one built"}
	case !ok:
		return Finding{
			Optional, "daprd", fmt.Sprintf("none of at least %d.%d on the PATH or in ~/.dapr/bin", minMajor, minMinor),
			"the first \"up\" builds one, in some minutes; or now: go run ./dapr doctor --build",
		}
	}
	return Finding{Good, "daprd", fmt.Sprintf("%s at %s (%s)", sidecar.Version, sidecar.Path, sidecar.Source), ""}
}

// Missing are the kinds of servers that are not installed and not named by their environment variable.
func Missing() []infra.Found {
	return slices.DeleteFunc(survey(), func(found infra.Found) bool { return found.Path != "" })
}

func survey() []infra.Found {
	return infra.Survey(infra.Place{Getenv: os.Getenv, Program: func(string) string { return "built in" }})
}

func checkServers() []Finding {
	var findings []Finding
	for _, found := range survey() {
		finding := Finding{Good, found.What + " " + found.Name, found.Path, ""}
		if found.Path == "" {
			finding = Finding{Optional, found.What + " " + found.Name, "not installed", found.Advice}
		}
		findings = append(findings, finding)
	}
	return findings
}

// checkFiles reads all component, configuration, resiliency and subscription files as strictly as the test does.
func checkFiles(p *plan) Finding {
	documents, err := manifest.Read(filepath.Join(p.folder, p.Common.ConfigFilePath))
	if err != nil {
		return Finding{Bad, "dapr files", err.Error(), ""}
	}
	for _, folder := range p.resources {
		read, err := manifest.ReadFolder(folder)
		if err != nil {
			return Finding{Bad, "dapr files", err.Error(), ""}
		}
		documents = append(documents, read...)
	}
	var complaints []string
	for _, violation := range manifest.Check(documents, p.ids()) {
		complaints = append(complaints, violation.String())
	}
	if len(complaints) > 0 {
		return Finding{Bad, "dapr files", strings.Join(complaints, "; "), ""}
	}
	return Finding{Good, "dapr files", fmt.Sprintf("%d resources read strictly", len(documents)), ""}
}

func checkPath(root, dir string) Finding {
	if err := checkFolders(root, dir); err != nil {
		return Finding{Bad, "folder", err.Error(), ""}
	}
	return Finding{Good, "folder", dir, ""}
}

func checkDisk(dir string) Finding {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return Finding{Optional, "disk", err.Error(), ""}
	}
	free := int64(stat.Bavail) * stat.Bsize
	const needed = 1 << 30
	if free < needed {
		return Finding{Bad, "disk", fmt.Sprintf("%d MB free at %s", free>>20, dir), "a stack needs 1 GB, and building the sidecar 5 GB"}
	}
	return Finding{Good, "disk", fmt.Sprintf("%d GB free at %s", free>>30, dir), ""}
}

// checkPlanPorts checks that the ports of the run file are free, unless a stack uses them.
func checkPlanPorts(ctx context.Context, p *plan, dir string) []Finding {
	if control, err := Connect(ctx, dir); err == nil {
		if report, err := control.Report(ctx); err == nil {
			return []Finding{{Good, "ports", fmt.Sprintf("taken by the running stack (pid %d)", report.PID), ""}}
		}
	}
	if err := p.checkPorts(); err != nil {
		lines := strings.Split(err.Error(), "\n")
		last := len(lines) - 1
		return []Finding{{Bad, "ports", strings.Join(lines[:last], "; "), lines[last]}}
	}
	return []Finding{{Good, "ports", fmt.Sprintf("all %d of dapr/dapr.yaml are free", 5*len(p.Apps)), ""}}
}
