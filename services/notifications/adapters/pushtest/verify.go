package pushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// identify checks the header Authorization of RFC 8292: the signature, for whom the token is, how long it is valid, and the contact.
func (s *Service) identify(header string) error {
	var token, key string
	parameters, ok := strings.CutPrefix(header, "vapid ")
	for parameter := range strings.SplitSeq(parameters, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		switch name {
		case "t":
			token = value
		case "k":
			key = value
		}
	}
	if !ok || key != s.PublicKey {
		return fmt.Errorf("the key is %q", key)
	}
	raw, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return fmt.Errorf("the key: %w", err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return fmt.Errorf("the key: %w", err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return fmt.Errorf("the token: %w", err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(public, &claims); err != nil {
		return fmt.Errorf("the signature: %w", err)
	}
	now := s.Now()
	if len(claims.Audience) != 1 || claims.Audience[0] != s.Origin {
		return fmt.Errorf("the audience is %v and not %s", claims.Audience, s.Origin)
	}
	if claims.Expiry == nil || !claims.Expiry.Time().After(now) || claims.Expiry.Time().After(now.Add(24*time.Hour)) {
		return fmt.Errorf("the token ends at %v", claims.Expiry)
	}
	if !strings.HasPrefix(claims.Subject, "https://") && (!strings.HasPrefix(claims.Subject, "mailto:") || strings.Contains(claims.Subject, "mailto:mailto:")) {
		return fmt.Errorf("the contact is %q", claims.Subject)
	}
	return nil
}

// The parts of a body (RFC 8188, 2.1).
const (
	saltSize   = 16
	headerSize = saltSize + 4 + 1
)

var errBody = errors.New("the body is not one record of aes128gcm")

// Decrypt decrypts a body with the keys of a device (RFC 8291, 3 and 4).
func Decrypt(private *ecdh.PrivateKey, auth, body []byte) ([]byte, error) {
	if len(body) < headerSize || len(body) < headerSize+int(body[headerSize-1]) {
		return nil, errBody
	}
	salt, recordSize := body[:saltSize], int(binary.BigEndian.Uint32(body[saltSize:]))
	sender := body[headerSize : headerSize+int(body[headerSize-1])]
	record := body[headerSize+len(sender):]
	if len(record) > recordSize {
		return nil, errBody
	}
	from, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, fmt.Errorf("the key of the sender: %w", err)
	}
	secret, err := private.ECDH(from)
	if err != nil {
		return nil, fmt.Errorf("the shared secret: %w", err)
	}
	info := "WebPush: info\x00" + string(private.PublicKey().Bytes()) + string(sender)
	material, err := hkdf.Key(sha256.New, secret, auth, info, sha256.Size)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, material, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, material, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	// After the content comes a 2, as this is the last record, and then padding.
	plain = []byte(strings.TrimRight(string(plain), "\x00"))
	if len(plain) == 0 || plain[len(plain)-1] != 2 {
		return nil, errBody
	}
	return plain[:len(plain)-1], nil
}
