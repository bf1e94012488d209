package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher"
)

// imagesOptions are the flags of images.
type imagesOptions struct {
	archs, tag, only, version, output string
}

func imagesCommand() command {
	return command{
		name:    "images",
		summary: "make the container images of all programs and load them into Docker",
		details: `
Builds every program and the sidecar on this machine, static and for each architecture, and makes an image of each:
the binary, CA certificates and nothing else. No base image, no registry and no builder is used. The Dockerfile makes
the same images from source.

The images are named caravan/NAME:TAG. With several architectures the first keeps the tag, and the others become
caravan/NAME:TAG-ARCH. With --output no Docker engine is needed: docker load -i FILE reads the file elsewhere.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			o := &c.options.images
			flags.StringVar(&o.archs, "arch", "", "architectures, as a `list` with commas: amd64,arm64 (default: the engine's)")
			flags.StringVar(&o.tag, "tag", "dev", "the `name` of the images' tag")
			flags.StringVar(&o.only, "only", "", "make only these images, as a `list` with commas: users,daprd")
			flags.StringVar(&o.version, "version", "", "the version, a `text`, that programs and labels state (default: the tag)")
			flags.StringVar(&o.output, "output", "", "write the images to this `file` instead of loading them")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error { return c.images(ctx) },
	}
}

func (c *cli) images(ctx context.Context) error {
	given := c.options.images
	options := launcher.ImageOptions{Root: c.root, Tag: given.tag, Version: given.version, Only: listed(given.only), Archs: listed(given.archs), Log: c.out}
	for _, arch := range options.Archs {
		if !slices.Contains([]string{"amd64", "arm64"}, arch) {
			return &usageError{fmt.Sprintf("images: --arch takes amd64 and arm64, not %q.", arch)}
		}
	}
	if options.Version == "" {
		options.Version = given.tag
	}
	began := time.Now()
	var err error
	if given.output != "" {
		err = c.saveImages(ctx, options)
	} else {
		err = c.loadImages(ctx, options)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Done after %s.\n", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (c *cli) loadImages(ctx context.Context, options launcher.ImageOptions) error {
	docker, err := launcher.FindDocker(ctx)
	if err != nil {
		return fmt.Errorf("%w\nWithout an engine, --output FILE writes the images to a file", err)
	}
	if len(options.Archs) == 0 {
		options.Archs = []string{docker.Arch}
	}
	return docker.Load(ctx, func(w io.Writer) error { return launcher.MakeImages(ctx, options, w) })
}

func (c *cli) saveImages(ctx context.Context, options launcher.ImageOptions) error {
	if len(options.Archs) == 0 {
		options.Archs = []string{runtime.GOARCH}
	}
	partial := c.options.images.output + ".partial"
	file, err := os.Create(partial)
	if err != nil {
		return fmt.Errorf("writing the images: %w", err)
	}
	defer os.Remove(partial)
	defer file.Close()
	if err := launcher.MakeImages(ctx, options, file); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing the images: %w", err)
	}
	if err := os.Rename(partial, c.options.images.output); err != nil {
		return fmt.Errorf("writing the images: %w", err)
	}
	return nil
}

// listed returns the words of a comma-separated list.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
