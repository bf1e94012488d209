package bloom_test

import (
	"strconv"
	"testing"

	"caravan/internal/bloom"
)

func TestNoKeyIsForgottenAndFalsePositivesAreRare(t *testing.T) {
	const keys = 1 << 14
	f := bloom.New(18) // 16 bits a key
	for i := range keys {
		f.Add("key " + strconv.Itoa(i))
	}
	positives := 0
	for i := range keys {
		if !f.Has("key "+strconv.Itoa(i)) || !f.Add("key "+strconv.Itoa(i)) {
			t.Fatalf("key %d is forgotten", i)
		}
		if f.Has("other " + strconv.Itoa(i)) {
			positives++
		}
	}
	if positives > keys/500 { // four times the theoretical value
		t.Errorf("%d of %d other keys are false positives", positives, keys)
	}
	if bloom.New(6).Has("anything") {
		t.Error("an empty filter has something")
	}
}
