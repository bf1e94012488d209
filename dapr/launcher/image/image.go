// Package image writes container images without a builder. The files of an image are a layer in an archive that "docker
// load" reads (https://github.com/moby/docker-image-spec, "Combined Image JSON + Filesystem Changeset Format").
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// File is one file or folder of an image.
type File struct {
	Path   string // absolute, in the image
	Source string // file on this machine that holds the content; empty for a folder
	Mode   int64
	Owner  int // user and group
}

// Config is what a container of an image starts with.
type Config struct {
	User       string
	Entrypoint []string          `json:",omitempty"`
	Cmd        []string          `json:",omitempty"` // the command, unless the container has another one
	WorkingDir string            `json:",omitempty"`
	Labels     map[string]string `json:",omitempty"`
}

// Image is one image.
type Image struct {
	Tag          string // repository:tag
	Architecture string // as Go names it
	Created      time.Time
	Config       Config
	Layers       [][]File // lowest first; equal layers are stored once
}

// Archive writes images one after another.
type Archive struct {
	out      *tar.Writer
	written  map[string]bool
	manifest []manifestEntry
}

type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// NewArchive starts an archive.
func NewArchive(w io.Writer) *Archive {
	return &Archive{out: tar.NewWriter(w), written: map[string]bool{}}
}

// Add writes an image.
func (a *Archive) Add(image Image) error {
	entry := manifestEntry{RepoTags: []string{image.Tag}}
	var digests []string
	for _, files := range image.Layers {
		layer, err := pack(files)
		if err != nil {
			return fmt.Errorf("image %s: %w", image.Tag, err)
		}
		name, err := a.put(layer, ".tar")
		if err != nil {
			return fmt.Errorf("image %s: %w", image.Tag, err)
		}
		entry.Layers = append(entry.Layers, name)
		digests = append(digests, "sha256:"+strings.TrimSuffix(name, ".tar"))
	}
	config, err := json.Marshal(map[string]any{
		"architecture": image.Architecture, "os": "linux", "created": image.Created.UTC(), "config": image.Config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": digests},
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", image.Tag, err)
	}
	if entry.Config, err = a.put(config, ".json"); err != nil {
		return fmt.Errorf("image %s: %w", image.Tag, err)
	}
	a.manifest = append(a.manifest, entry)
	return nil
}

// Close writes the names of the images, and ends the archive.
func (a *Archive) Close() error {
	manifest, err := json.Marshal(a.manifest)
	if err != nil {
		return fmt.Errorf("listing the images: %w", err)
	}
	if err := write(a.out, tar.Header{Name: "manifest.json", Mode: 0o644}, manifest); err != nil {
		return err
	}
	return a.out.Close()
}

// put writes a blob once, and returns its name, which is its digest.
func (a *Archive) put(content []byte, extension string) (name string, err error) {
	sum := sha256.Sum256(content)
	name = hex.EncodeToString(sum[:]) + extension
	if a.written[name] {
		return name, nil
	}
	a.written[name] = true
	return name, write(a.out, tar.Header{Name: name, Mode: 0o644}, content)
}

// pack makes a layer. The same files give the same bytes: it contains no time and no name of this machine.
func pack(files []File) ([]byte, error) {
	var layer bytes.Buffer
	out := tar.NewWriter(&layer)
	made := map[string]bool{"/": true}
	for _, file := range files {
		if err := parents(out, file.Path, made); err != nil {
			return nil, err
		}
		header := tar.Header{Name: strings.TrimPrefix(file.Path, "/"), Mode: file.Mode, Uid: file.Owner, Gid: file.Owner}
		var content []byte
		if file.Source == "" {
			header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
			made[file.Path] = true
		} else {
			var err error
			if content, err = os.ReadFile(file.Source); err != nil {
				return nil, fmt.Errorf("reading a file of the image: %w", err)
			}
		}
		if err := write(out, header, content); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), out.Close()
}

// parents writes the folders above a path that the layer does not have yet. They belong to root.
func parents(out *tar.Writer, file string, made map[string]bool) error {
	folder := path.Dir(file)
	if made[folder] {
		return nil
	}
	if err := parents(out, folder, made); err != nil {
		return err
	}
	made[folder] = true
	return write(out, tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(folder, "/") + "/", Mode: 0o755}, nil)
}

func write(out *tar.Writer, header tar.Header, content []byte) error {
	header.Size, header.ModTime, header.Format = int64(len(content)), time.Unix(0, 0), tar.FormatUSTAR
	if err := out.WriteHeader(&header); err != nil {
		return fmt.Errorf("writing an archive: %w", err)
	}
	if _, err := out.Write(content); err != nil {
		return fmt.Errorf("writing an archive: %w", err)
	}
	return nil
}
