package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/internal/token"
	"caravan/services/users/adapters/keyring"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const delay = 15 * time.Minute

// fakeClock stands still; a sleeper waits for a tick.
type fakeClock struct {
	at    time.Time
	ticks chan struct{}
}

func (c *fakeClock) Now() time.Time { return c.at }

func (c *fakeClock) Sleep(ctx context.Context, _ time.Duration) error {
	select {
	case <-c.ticks:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func claims() token.Claims {
	return token.Claims{Issuer: "caravan", Subject: "u", Audience: "caravan-api", ClientID: "caravan", ID: "j", IssuedAt: now, Expiry: now.Add(time.Minute)}
}

// Many replicas that start at once on an empty directory agree on one key.
func TestReplicasAgree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	rings := make([]*keyring.Ring, 8)
	var group sync.WaitGroup
	for i := range rings {
		group.Go(func() {
			ring, err := keyring.Open(dir, delay, rand.Reader, &fakeClock{at: now})
			if err != nil {
				t.Error(err)
				return
			}
			rings[i] = ring
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	for _, ring := range rings {
		if keys := ring.KeySet().Keys; len(keys) != 1 || keys[0].ID != rings[0].KeySet().Keys[0].ID {
			t.Errorf("key set %v", keys)
		}
		if !bytes.Equal(ring.RefreshKey(), rings[0].RefreshKey()) || len(ring.RefreshKey()) != 32 {
			t.Errorf("refresh keys differ")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("directory holds %v, %v", entries, err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
		}
	}
}

func TestSignedTokenVerifies(t *testing.T) {
	ring, err := keyring.Open(t.TempDir(), delay, rand.Reader, &fakeClock{at: now})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ring.Sign(claims())
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(context.Context) (token.KeySet, error) { return ring.KeySet(), nil }
	got, err := token.NewVerifier(fetch, "caravan", "caravan-api", &fakeClock{at: now}).Verify(t.Context(), raw)
	if err != nil || got.Subject != "u" {
		t.Errorf("Verify = %+v, %v", got, err)
	}
}

// A new key is published at once and signs only when every verifier has had time to learn of it.
func TestNewKeySignsAfterTheDelay(t *testing.T) {
	dir, clk := t.TempDir(), &fakeClock{at: now, ticks: make(chan struct{})}
	ring, err := keyring.Open(dir, delay, rand.Reader, clk)
	if err != nil {
		t.Fatal(err)
	}
	initial := signer(t, ring)
	write(t, dir, "20260301T115000Z.pem", ed25519Key(t), 0o600) // ten minutes old
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := ring.Watch(ctx); err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	clk.ticks <- struct{}{}
	clk.ticks <- struct{}{} // taken only after the first reload
	cancel()
	group.Wait()
	if keys := ring.KeySet().Keys; len(keys) != 2 {
		t.Fatalf("key set %v", keys)
	}
	if signer(t, ring) != initial {
		t.Errorf("a key of ten minutes signs")
	}
	clk.at = now.Add(5 * time.Minute)
	if later := signer(t, ring); later == initial {
		t.Errorf("the initial key signs when the new one is old enough")
	}
}

// signer is the header of a fresh token, which names the key.
func signer(t *testing.T, ring *keyring.Ring) string {
	t.Helper()
	raw, err := ring.Sign(claims())
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(raw, ".")
	return header
}

func TestOpenRefusesBadKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file    string
		content []byte
		mode    os.FileMode
		says    string
	}{
		"open to everybody": {"initial.pem", ed25519Key(t), 0o644, "chmod"},
		"no PEM":            {"initial.pem", []byte("hello"), 0o600, "PEM"},
		"two blocks":        {"initial.pem", append(ed25519Key(t), ed25519Key(t)...), 0o600, "one PEM"},
		"not PKCS 8":        {"initial.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), 0o600, "PKCS"},
		"RSA":               {"initial.pem", pkcs8(t, rsaKey), 0o600, "Ed25519"},
		"name":              {"mine.pem", ed25519Key(t), 0o600, "name"},
		"short refresh key": {"refresh.key", []byte("abcd\n"), 0o600, "refresh.key"},
		"refresh key text":  {"refresh.key", []byte(strings.Repeat("z", 64)), 0o600, "hexadecimal"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, test.file, test.content, test.mode)
			_, err := keyring.Open(dir, delay, rand.Reader, &fakeClock{at: now})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open = %v, want an error about %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "zzzz") {
				t.Errorf("the error quotes the key")
			}
		})
	}
}

func ed25519Key(t *testing.T) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, private)
}

func pkcs8(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func write(t *testing.T, dir, name string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, mode); err != nil {
		t.Fatal(err)
	}
}
