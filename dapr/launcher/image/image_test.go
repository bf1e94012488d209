package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAnArchiveHoldsEachLayerOnceByItsDigest(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("binary"), 0o700); err != nil {
		t.Fatal(err)
	}
	common := []File{{Path: "/etc/ssl/certs/ca.crt", Source: program, Mode: 0o644}}
	of := func(tag string) Image {
		return Image{
			Tag: tag, Architecture: "arm64", Created: time.Unix(1000, 0), Config: Config{User: "65532:65532", Entrypoint: []string{"/program"}},
			Layers: [][]File{common, {{Path: "/program", Source: program, Mode: 0o755}, {Path: "/data/" + tag, Mode: 0o750, Owner: 65532}}},
		}
	}
	first, again := archiveOf(t, of("a"), of("b")), archiveOf(t, of("a"), of("b"))
	if !bytes.Equal(first, again) {
		t.Error("the same images make different archives")
	}
	files := filesOf(t, first)
	var manifest []manifestEntry
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 2 {
		t.Fatalf("the manifest is %s (%v)", files["manifest.json"], err)
	}
	if manifest[0].Layers[0] != manifest[1].Layers[0] || len(files) != 1+2+3 {
		t.Errorf("the common layer is not shared: %+v, %d files", manifest, len(files))
	}
	for _, entry := range manifest {
		var config struct {
			Architecture string
			Config       Config
			RootFS       struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(files[entry.Config], &config); err != nil {
			t.Fatal(err)
		}
		if config.Architecture != "arm64" || config.Config.User != "65532:65532" || len(config.RootFS.DiffIDs) != len(entry.Layers) {
			t.Errorf("the configuration is %s", files[entry.Config])
		}
		for i, name := range entry.Layers {
			sum := sha256.Sum256(files[name])
			if got := "sha256:" + hex.EncodeToString(sum[:]); got != config.RootFS.DiffIDs[i] {
				t.Errorf("layer %d of %v is %s, not %s", i, entry.RepoTags, got, config.RootFS.DiffIDs[i])
			}
		}
	}
	layer := tar.NewReader(bytes.NewReader(files[manifest[0].Layers[1]]))
	for _, want := range []tar.Header{{Name: "program", Mode: 0o755}, {Name: "data/", Mode: 0o755}, {Name: "data/a/", Mode: 0o750, Uid: 65532}} {
		if got, err := layer.Next(); err != nil || got.Name != want.Name || got.Mode != want.Mode || got.Uid != want.Uid {
			t.Errorf("the layer has %+v, not %+v (%v)", got, want, err)
		}
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	err := NewArchive(io.Discard).Add(Image{Tag: "a", Layers: [][]File{{{Path: "/x", Source: "no-such-file"}}}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

func archiveOf(t *testing.T, images ...Image) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := NewArchive(&out)
	for _, image := range images {
		if err := archive.Add(image); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func filesOf(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
}
