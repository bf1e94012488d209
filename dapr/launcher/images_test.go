package launcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// target is the image that a stage of the Dockerfile makes.
type target struct {
	folders    []string
	files      []string
	workDir    string
	entrypoint string
	command    string
	title      string
}

func TestTheDockerfileMakesTheSameImages(t *testing.T) {
	root := filepath.Join("..", "..")
	targets := readTargets(t, filepath.Join(root, "Dockerfile"))
	programs, err := programImages(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		want := target{
			folders: program.folders, files: slices.Concat(slices.Sorted(maps.Keys(program.files)), slices.Sorted(maps.Keys(program.tools)), []string{"/" + program.name}),
			workDir: program.workDir, title: "caravan/" + program.name,
		}
		made := program.image(ImageOptions{}, map[string]string{}, "").Config
		if want.entrypoint, want.command = quoted(made.Entrypoint), quoted(made.Cmd); want.entrypoint+want.command != quoted([]string{"/" + program.name}) {
			t.Errorf("the image of %s starts with %s and %s", program.name, want.entrypoint, want.command)
		}
		if got := targets[program.name]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the Dockerfile's target %s is\n%+v, not\n%+v", program.name, got, want)
		}
		delete(targets, program.name)
	}
	if len(targets) > 0 {
		t.Errorf("the Dockerfile has targets of which nobody knows: %v", targets)
	}
	content, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf("USER %d:%d\n", imageUser, imageUser), "buildinfo.version=" + SidecarVersion + "\"", "\"" + logStoreProgram.ldflags + "\"", logStoreProgram.pkg, "golang:" + goVersion(t, root) + "-"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
}

// quoted formats a command as in a Dockerfile; an empty command is "".
func quoted(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", words)
}

// readTargets reads the stages that start from "base".
func readTargets(t *testing.T, file string) map[string]target {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]target{}
	stage := ""
	for line := range strings.Lines(string(content)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		current := targets[stage]
		switch words[0] {
		case "FROM":
			stage = ""
			if words[1] == "base" {
				stage = words[3]
			}
			continue
		case "LABEL":
			_, current.title, _ = strings.Cut(words[1], "=")
		case "WORKDIR":
			current.workDir = words[1]
		case "ENTRYPOINT":
			current.entrypoint = words[1]
		case "CMD":
			current.command = words[1]
		case "COPY":
			if inside := words[len(words)-1]; words[len(words)-2] == "/empty" {
				current.folders = append(current.folders, inside)
			} else {
				current.files = append(current.files, inside)
			}
		default:
			continue
		}
		if stage != "" {
			targets[stage] = current
		}
	}
	return targets
}

func goVersion(t *testing.T, root string) string {
	t.Helper()
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))[1]
}

func TestAnUnknownImageIsNamed(t *testing.T) {
	err := MakeImages(context.Background(), ImageOptions{Root: filepath.Join("..", ".."), Only: []string{"user"}}, nil)
	if err == nil || !strings.Contains(err.Error(), `no image "user"; there are users, products`) {
		t.Errorf("the error is %v", err)
	}
}

func TestAMissingEngineIsNamed(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	if _, err := FindDocker(context.Background()); err == nil || !strings.Contains(err.Error(), "the docker command is not on the PATH") {
		t.Errorf("without the command the error is %v", err)
	}
	script := "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(folder, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := FindDocker(context.Background())
	if err == nil || !strings.Contains(err.Error(), "no Docker engine answers: Cannot connect") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the engine the error is %v", err)
	}
}
