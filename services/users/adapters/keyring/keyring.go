// Package keyring keeps the secrets of the users service in a directory: the Ed25519 keys that sign access tokens and
// the key that refresh tokens are derived from. They are never in the state store.
//
// The directory holds:
//
//	initial.pem            the first signing key, made when the directory has none
//	20260301T120000Z.pem   a later signing key, named by when it was made
//	refresh.key            the refresh key, 32 bytes in hexadecimal; those of mails and devices are derived from it
//
// Every key is published. The newest key that has been published for the publish delay signs. Verifiers cache the published
// keys, so all of them must know a key before the first token is signed with it. Replicas that share the directory agree,
// because files are created atomically and the first file stays.
package keyring

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"caravan/internal/clock"
	"caravan/internal/token"
	"caravan/services/users/domain"
)

const (
	initialName   = "initial.pem"
	refreshName   = "refresh.key"
	nameLayout    = "20060102T150405Z"
	refreshLength = 32
	reloadEvery   = time.Minute
)

// Ring is the loaded directory.
type Ring struct {
	dir     string
	delay   time.Duration
	clock   clock.Clock
	refresh domain.RefreshKey

	mu   sync.RWMutex
	keys []signingKey // oldest first, at least one
}

type signingKey struct {
	made   time.Time // zero for the initial key, which is in every cached set
	signer token.Signer
}

// Open loads the directory. It creates the directory and the first keys if they are missing. delay is how long a key is
// published before it signs.
func Open(dir string, delay time.Duration, random io.Reader, clk clock.Clock) (*Ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the key directory: %w", err)
	}
	ring := &Ring{dir: dir, delay: delay, clock: clk}
	if err := ring.createMissing(random); err != nil {
		return nil, err
	}
	if err := ring.reload(); err != nil {
		return nil, err
	}
	return ring, ring.loadRefreshKey()
}

// createMissing creates the first signing key and the refresh key if they are missing.
func (r *Ring) createMissing(random io.Reader) error {
	names, err := r.names()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if err := r.createSigningKey(random); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(r.dir, refreshName)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	secret := make([]byte, refreshLength)
	if _, err := io.ReadFull(random, secret); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	return createOnce(r.dir, refreshName, []byte(hex.EncodeToString(secret)+"\n"))
}

func (r *Ring) createSigningKey(random io.Reader) error {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return fmt.Errorf("encoding a signing key: %w", err)
	}
	return createOnce(r.dir, initialName, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// createOnce creates a file atomically, readable by its owner only. A file that exists stays: another replica may have created
// it.
func createOnce(dir, name string, content []byte) (err error) {
	draft, err := os.CreateTemp(dir, ".draft-*") // 0600
	if err != nil {
		return fmt.Errorf("creating %s: %w", name, err)
	}
	defer func() {
		err = errors.Join(err, os.Remove(draft.Name()))
	}()
	_, err = draft.Write(content)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Link(draft.Name(), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("creating %s: %w", name, err)
	}
	return nil
}

// names lists the files of signing keys.
func (r *Ring) names() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the key directory: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".pem") && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}

// reload reads every signing key; on an error the ring stays as it was.
func (r *Ring) reload() error {
	names, err := r.names()
	if err != nil {
		return err
	}
	keys := make([]signingKey, 0, len(names))
	for _, name := range names {
		key, err := r.loadSigningKey(name)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return errors.New("the key directory holds no signing key")
	}
	slices.SortFunc(keys, func(a, b signingKey) int { return a.made.Compare(b.made) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
	return nil
}

func (r *Ring) loadSigningKey(name string) (signingKey, error) {
	content, err := readPrivate(filepath.Join(r.dir, name))
	if err != nil {
		return signingKey{}, err
	}
	var made time.Time
	if name != initialName {
		if made, err = time.Parse(nameLayout, strings.TrimSuffix(name, ".pem")); err != nil {
			return signingKey{}, fmt.Errorf("signing key %s: its name is not initial.pem or like 20260301T120000Z.pem", name)
		}
	}
	private, err := parseSigningKey(content)
	if err != nil {
		return signingKey{}, fmt.Errorf("signing key %s: %w", name, err)
	}
	public := private.Public()
	thumbprint, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return signingKey{}, fmt.Errorf("naming signing key %s: %w", name, err)
	}
	keyID := base64.RawURLEncoding.EncodeToString(thumbprint)
	return signingKey{made: made, signer: token.Signer{KeyID: keyID, Key: private}}, nil
}

func parseSigningKey(content []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(content)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("not one PEM block of type PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not in PKCS #8 form")
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	return private, nil
}

func (r *Ring) loadRefreshKey() error {
	content, err := readPrivate(filepath.Join(r.dir, refreshName))
	if err != nil {
		return err
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(content)))
	if err != nil || len(secret) != refreshLength {
		return fmt.Errorf("%s is not %d bytes in hexadecimal", refreshName, refreshLength)
	}
	r.refresh = secret
	return nil
}

// readPrivate reads a file and refuses it if everybody on the machine can read it.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody can read the key file %s (mode %s): run chmod 0600 on it", filepath.Base(path), info.Mode().Perm())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	return content, nil
}

// Watch loads new keys of the directory until ctx ends.
func (r *Ring) Watch(ctx context.Context) error {
	for {
		if err := r.clock.Sleep(ctx, reloadEvery); err != nil {
			return nil
		}
		if err := r.reload(); err != nil {
			return fmt.Errorf("reloading signing keys: %w", err)
		}
	}
}

// Sign signs the claims with the newest key that has been published for the publish delay, or with the oldest key if there is
// none.
func (r *Ring) Sign(claims token.Claims) (string, error) {
	return r.current().Sign(claims)
}

func (r *Ring) current() token.Signer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	settled := r.clock.Now().Add(-r.delay)
	for _, key := range slices.Backward(r.keys) {
		if !key.made.After(settled) {
			return key.signer
		}
	}
	return r.keys[0].signer
}

// KeySet is the public part of every key, including keys that do not sign yet and keys that no longer sign.
func (r *Ring) KeySet() token.KeySet {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var set token.KeySet
	for _, key := range r.keys {
		public, _ := key.signer.Key.Public().(ed25519.PublicKey) // what Public returns, by its documentation
		set.Keys = append(set.Keys, token.Key{ID: key.signer.KeyID, Public: public})
	}
	return set
}

// RefreshKey is the key from which refresh tokens are derived.
func (r *Ring) RefreshKey() domain.RefreshKey { return r.refresh }
