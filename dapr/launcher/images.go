package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher/image"
)

// imageUser is the user of every container. No machine has it as a real user, as in distroless images.
const imageUser = 65532

// programImage is what differs between the images. The Dockerfile has a target for each name; a test compares them.
type programImage struct {
	name    string            // "users" becomes caravan/users
	source  string            // Go package; of a module of its own when it is sidecarSource or logStoreSource
	tools   map[string]string // other programs in the image: their Go packages
	folders []string          // of the user, for volumes
	files   map[string]string // in the image: in the repository
	workDir string
	bare    bool // a default command instead of an entry point: a container names the binary to run
}

const (
	sidecarSource   = "dapr/daprd"
	logStoreSource  = "dapr/observe"
	collectorSource = "./dapr/launcher/collector"
)

// appFolders are the folders for volumes in the images of apps that need them.
var appFolders = map[string][]string{"users": {"/keys"}}

// programImages are all images of the project: those of the apps in dapr/dapr.yaml, in its order, and of the tools.
func programImages(root string) ([]programImage, error) {
	plan, err := readPlan(filepath.Join(root, "dapr", "dapr.yaml"))
	if err != nil {
		return nil, err
	}
	var images []programImage
	for _, a := range plan.Apps {
		images = append(images, programImage{name: a.ID, source: a.Command[2], folders: appFolders[a.ID]})
	}
	return append(images, toolImages()...), nil
}

// toolImages are the images that are not of an app.
func toolImages() []programImage {
	return []programImage{
		{name: "embeddedbroker", source: "./dapr/launcher/embeddedbroker", folders: []string{"/data"}},
		{name: "mailbox", source: "./dapr/launcher/mailbox", folders: []string{"/data"}},
		// The command line, which fills the shop. It needs the repository.
		{name: "dapr", source: "./dapr", workDir: "/caravan", files: map[string]string{
			"/caravan/dapr/dapr.yaml":                  "dapr/dapr.yaml",
			"/caravan/services/products/catalogue.csv": "services/products/catalogue.csv",
		}},
		// The collector's folder for data has no owner here: in docker compose it runs as another user than in Kubernetes.
		{name: "collector", source: collectorSource},
		// The store cannot ask itself whether it works. The collector can.
		{name: "victoria-logs", source: logStoreSource, folders: []string{"/data"}, tools: map[string]string{"/collector": collectorSource}},
		{name: "daprd", source: sidecarSource, workDir: "/caravan", folders: []string{"/caravan/.dapr/data"}, bare: true},
	}
}

// ImageOptions say which images to make.
type ImageOptions struct {
	Root    string   // the repository
	Archs   []string // as Go names them; the first keeps the tag, others are tagged TAG-ARCH
	Tag     string
	Only    []string  // names of images; all when empty
	Version string    // as the programs and the labels state it
	Log     io.Writer // progress
}

// ClusterImages are the names of the images in k8s/: the apps, their sidecar, the broker and the mail server for
// development, and the store for log lines and spans with its collector.
func ClusterImages(root string) ([]string, error) {
	apps, err := Apps(root)
	return append(apps, "daprd", "embeddedbroker", "mailbox", "victoria-logs", "collector"), err
}

// MakeImages builds the programs on this machine and writes their images in the form that "docker load" reads. It
// downloads only Go modules.
func MakeImages(ctx context.Context, options ImageOptions, out io.Writer) error {
	chosen, err := chooseImages(options.Root, options.Only)
	if err != nil {
		return err
	}
	certificates, err := certificateBundle()
	if err != nil {
		return err
	}
	built := readRevision(ctx, options.Root)
	archive := image.NewArchive(out)
	for i, arch := range options.Archs {
		tag := options.Tag
		if i > 0 {
			tag += "-" + arch
		}
		began := time.Now()
		fmt.Fprintf(options.Log, "Building %d programs for linux/%s.\n", len(chosen), arch)
		binaries, err := buildForImages(ctx, options, chosen, arch, built.revision)
		if err != nil {
			return err
		}
		fmt.Fprintf(options.Log, "Built after %s.\n", time.Since(began).Round(100*time.Millisecond))
		for _, program := range chosen {
			made := program.image(options, binaries, certificates)
			made.Tag, made.Architecture, made.Created = "caravan/"+program.name+":"+tag, arch, built.at
			made.Config.Labels["org.opencontainers.image.revision"] = built.revision
			if err := archive.Add(made); err != nil {
				return err
			}
			fmt.Fprintf(options.Log, "  %s\n", made.Tag)
		}
	}
	return archive.Close()
}

func chooseImages(root string, only []string) ([]programImage, error) {
	all, err := programImages(root)
	if err != nil || len(only) == 0 {
		return all, err
	}
	var chosen []programImage
	for _, name := range only {
		i := slices.IndexFunc(all, func(p programImage) bool { return p.name == name })
		if i < 0 {
			var names []string
			for _, p := range all {
				names = append(names, p.name)
			}
			return nil, fmt.Errorf("there is no image %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// image returns the program's image, from the binaries in a folder.
func (p programImage) image(options ImageOptions, binaries map[string]string, certificates string) image.Image {
	var own []image.File
	for _, folder := range p.folders {
		own = append(own, image.File{Path: folder, Mode: 0o755, Owner: imageUser})
	}
	for inside := range p.files {
		own = append(own, image.File{Path: inside, Source: filepath.Join(options.Root, p.files[inside]), Mode: 0o644})
	}
	for inside, source := range p.tools {
		own = append(own, image.File{Path: inside, Source: binaries[path.Base(source)], Mode: 0o755})
	}
	slices.SortFunc(own, func(a, b image.File) int { return cmp.Compare(a.Path, b.Path) })
	own = append(own, image.File{Path: "/" + p.name, Source: binaries[p.name], Mode: 0o755})
	config := image.Config{
		User: fmt.Sprintf("%d:%d", imageUser, imageUser), WorkingDir: p.workDir,
		Labels: map[string]string{
			"org.opencontainers.image.title": "caravan/" + p.name, "org.opencontainers.image.version": options.Version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	if start := []string{"/" + p.name}; p.bare {
		config.Cmd = start
	} else {
		config.Entrypoint = start
	}
	return image.Image{
		Layers: [][]image.File{{{Path: "/etc/ssl/certs/ca-certificates.crt", Source: certificates, Mode: 0o644}}, own},
		Config: config,
	}
}

// buildForImages builds static binaries, and returns the path of each.
func buildForImages(ctx context.Context, options ImageOptions, chosen []programImage, arch, revision string) (map[string]string, error) {
	folder := filepath.Join(options.Root, ".dapr", "images", arch)
	binaries := map[string]string{}
	var packages []string
	ours := func(source, name string) {
		if !slices.Contains(packages, source) {
			packages = append(packages, source)
		}
		binaries[name] = filepath.Join(folder, path.Base(source))
	}
	for _, program := range chosen {
		for _, source := range program.tools {
			ours(source, path.Base(source))
		}
		var err error
		switch program.source {
		case sidecarSource:
			binaries[program.name], err = sidecarForImage(ctx, options, arch)
		case logStoreSource:
			binaries[program.name], err = logStoreProgram.ensure(ctx, options.Root, BinFolder(filepath.Join(options.Root, ".dapr")), "linux/"+arch, options.Log)
		default:
			ours(program.source, program.name)
		}
		if err != nil {
			return nil, err
		}
	}
	flags := []string{"-trimpath", "-ldflags", "-s -w -X caravan/internal/version.version=" + options.Version + " -X caravan/internal/version.revision=" + revision}
	return binaries, goBuild(ctx, options.Root, folder, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, flags, packages)
}

// sidecarForImage returns the path of the sidecar, and builds it if there is none.
func sidecarForImage(ctx context.Context, options ImageOptions, arch string) (string, error) {
	sidecar, err := builtSidecar(options.Root, BinFolder(filepath.Join(options.Root, ".dapr")), "linux/"+arch)
	if err != nil {
		return "", err
	}
	return sidecar.Path, ensureBuilt(ctx, options.Root, sidecar.Path, "linux/"+arch, options.Log)
}

// revision is the revision of the repository.
type revision struct {
	revision string
	at       time.Time
}

// readRevision asks git. Without git the revision is unknown and the time is zero.
func readRevision(ctx context.Context, root string) revision {
	git := func(args ...string) string {
		command := exec.CommandContext(ctx, "git", args...)
		command.Dir = root
		output, _ := command.Output()
		return strings.TrimSpace(string(output))
	}
	hash, seconds, found := strings.Cut(git("show", "-s", "--format=%H %ct", "HEAD"), " ")
	if !found {
		return revision{"unknown", time.Unix(0, 0)}
	}
	at, _ := strconv.ParseInt(seconds, 10, 64)
	if git("status", "--porcelain", "--untracked-files=no") != "" {
		hash += "+changes"
	}
	return revision{hash, time.Unix(at, 0)}
}

// certificateBundle is the file of the authorities that this machine trusts, where crypto/x509 looks for it.
func certificateBundle() (string, error) {
	candidates := []string{
		os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	for _, file := range candidates {
		if info, err := os.Stat(file); file != "" && err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", errors.New("no bundle of CA certificates was found for the images: install ca-certificates, or name a file in SSL_CERT_FILE")
}

// Docker is the engine that the docker command uses.
type Docker struct {
	Version string
	Arch    string // as Go names it
}

// FindDocker returns the engine, or says what is missing.
func FindDocker(ctx context.Context) (Docker, error) {
	command := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}} {{.Server.Arch}}")
	output, err := command.Output()
	var failed *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return Docker{}, errors.New("the docker command is not on the PATH: https://docs.docker.com/engine/install/")
	case errors.As(err, &failed):
		return Docker{}, fmt.Errorf("no Docker engine answers: %s", strings.TrimSpace(string(failed.Stderr)))
	case err != nil:
		return Docker{}, fmt.Errorf("asking for the Docker engine: %w", err)
	}
	version, arch, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	return Docker{Version: version, Arch: cmp.Or(arch, runtime.GOARCH)}, nil
}

// Load passes an archive of images to the engine while it is written.
func (Docker) Load(ctx context.Context, write func(io.Writer) error) error {
	command := exec.CommandContext(ctx, "docker", "load", "--quiet")
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	archive, err := command.StdinPipe()
	if err != nil {
		return fmt.Errorf("loading images: %w", err)
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("loading images: %w", err)
	}
	written := write(archive)
	closed := archive.Close()
	if written != nil {
		// The engine's error about an incomplete archive is of no use.
		_ = command.Wait()
		return written
	}
	if err := errors.Join(command.Wait(), closed); err != nil {
		return fmt.Errorf("loading images: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}
