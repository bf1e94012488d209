package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"caravan/dapr/launcher"
)

// k8sOptions are the flags of the commands for a cluster.
type k8sOptions struct {
	kind, k3d, registry string
	force               bool
}

func k8sImagesCommand() command {
	return command{
		name:    "k8s images",
		summary: "make the container images and bring them to a cluster",
		details: `
Makes the images as "images" does, and hands them to a cluster of kind or k3d on this machine, or to a registry. For
any other node write them to a file, and import it there: ctr -n k8s.io images import FILE

With --registry HOST/FOLDER the images are named HOST/FOLDER/NAME:TAG. Name them in the kustomization of your cluster,
as k8s/README.md says.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			o, k := &c.options.images, &c.options.k8s
			flags.StringVar(&k.kind, "kind", "", "load into the cluster of kind with this `name`")
			flags.StringVar(&k.k3d, "k3d", "", "load into the cluster of k3d with this `name`")
			flags.StringVar(&k.registry, "registry", "", "push to the registry and folder at this `address`, with Docker")
			flags.StringVar(&o.output, "output", "", "write the images to this `file`")
			flags.StringVar(&o.archs, "arch", "", "the `name` of the nodes' architecture: amd64 or arm64 (default: this machine's)")
			flags.StringVar(&o.tag, "tag", "dev", "the `name` of the images' tag")
			flags.StringVar(&o.only, "only", "", "make only these images, as a `list` with commas: users,daprd")
			flags.StringVar(&o.version, "version", "", "the version, a `text`, that programs and labels state (default: the tag)")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error { return c.k8sImages(ctx) },
	}
}

func (c *cli) k8sImages(ctx context.Context) error {
	o, k := &c.options.images, c.options.k8s
	given := slices.DeleteFunc([]string{k.kind, k.k3d, k.registry, o.output}, func(s string) bool { return s == "" })
	if len(given) != 1 {
		return &usageError{"k8s images: say where the images go: --kind CLUSTER, --k3d CLUSTER, --registry HOST/FOLDER or --output FILE."}
	}
	if len(listed(o.archs)) > 1 {
		return &usageError{"k8s images: --arch takes one architecture."}
	}
	for name, wanted := range map[string]string{"kind": k.kind, "k3d": k.k3d, "docker": k.registry} {
		if _, err := exec.LookPath(name); wanted != "" && err != nil { // before the build, which takes minutes
			return fmt.Errorf("%s is not on the PATH", name)
		}
	}
	if o.only == "" {
		names, err := launcher.ClusterImages(c.root)
		if err != nil {
			return err
		}
		o.only = strings.Join(names, ",")
	}
	switch {
	case k.registry != "":
		if err := c.images(ctx); err != nil {
			return err
		}
		return c.push(ctx, strings.TrimSuffix(k.registry, "/"))
	case o.output != "":
		return c.images(ctx)
	}
	folder, err := os.MkdirTemp("", "caravan-images-")
	if err != nil {
		return fmt.Errorf("making a folder for the images: %w", err)
	}
	defer os.RemoveAll(folder)
	o.output = filepath.Join(folder, "images.tar")
	if err := c.images(ctx); err != nil {
		return err
	}
	if k.kind != "" {
		return c.tool(ctx, "kind", "load", "image-archive", o.output, "--name", k.kind)
	}
	return c.tool(ctx, "k3d", "image", "import", o.output, "--cluster", k.k3d)
}

// push tags Docker's images for a registry, and pushes them.
func (c *cli) push(ctx context.Context, registry string) error {
	for _, name := range listed(c.options.images.only) {
		local := name + ":" + c.options.images.tag
		if err := c.tool(ctx, "docker", "tag", "caravan/"+local, registry+"/"+local); err != nil {
			return err
		}
		if err := c.tool(ctx, "docker", "push", "--quiet", registry+"/"+local); err != nil {
			return err
		}
	}
	return nil
}

// tool runs another program, which writes its own output.
func (c *cli) tool(ctx context.Context, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Stdout, command.Stderr, command.Dir = c.out, c.err, c.root
	err := command.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not on the PATH", name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

func k8sRenderCommand() command {
	return command{
		name: "k8s render", args: "CLUSTER", min: 1, max: 1,
		summary: "print what would be applied to a cluster",
		details: `
CLUSTER is a folder of k8s/clusters, as plain-development, or any other folder with a kustomization. Prints what
"kubectl apply -k" would apply, with the kustomize of kubectl.`,
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
			folder, err := c.clusterFolder(flags.Arg(0))
			if err != nil {
				return err
			}
			return c.tool(ctx, "kubectl", "kustomize", folder)
		},
	}
}

// clusterFolder finds the kustomization of a cluster.
func (c *cli) clusterFolder(name string) (string, error) {
	clusters := filepath.Join(c.root, "k8s", "clusters")
	for _, folder := range []string{filepath.Join(clusters, name), name} {
		if _, err := os.Stat(filepath.Join(folder, "kustomization.yaml")); err == nil {
			return filepath.Abs(folder)
		}
	}
	var known []string
	entries, err := os.ReadDir(clusters)
	if err != nil {
		return "", fmt.Errorf("looking for clusters: %w", err)
	}
	for _, entry := range entries {
		known = append(known, entry.Name())
	}
	return "", &usageError{fmt.Sprintf("k8s render: there is no cluster %q, nor a folder of that name with a kustomization.\nClusters: %s", name, strings.Join(known, ", "))}
}
