package vapid_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"caravan/services/notifications/adapters/vapid"
)

func TestAKeyIsReadAsItWasMade(t *testing.T) {
	made, err := vapid.New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	read, err := vapid.Parse(made.Private)
	if err != nil || read != made {
		t.Errorf("read %+v, %v", read.Public, err)
	}
	if public, err := base64.RawURLEncoding.DecodeString(made.Public); err != nil || len(public) != 65 || public[0] != 4 {
		t.Errorf("the public key is %x, %v", public, err)
	}
	// The first 32 bytes are larger than the order of the curve, so they are no key.
	next, err := vapid.New(io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{0xff}, 32)), rand.Reader))
	if err != nil || next.Private == made.Private {
		t.Error(err)
	}
	if _, err := vapid.New(strings.NewReader("short")); err == nil {
		t.Error("a key of five bytes was made")
	}
}

func TestWhatIsNoKeyIsRefusedWithoutShowingIt(t *testing.T) {
	for _, text := range []string{"", "secret", strings.Repeat("_", 43), strings.Repeat("A", 43), strings.Repeat("A", 86)} {
		_, err := vapid.Parse(text)
		if !errors.Is(err, vapid.ErrKey) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
