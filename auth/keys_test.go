package auth

import (
	"fmt"
	"sync"
	"testing"
)

func TestKeyCacheRemembers(t *testing.T) {
	cache := NewKeyCache(2)
	salt := []byte("0123456789abcdef")
	first, err := cache.derive("pencil", salt, 1)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := cache.derive("pencil", salt, 1); again != first {
		t.Error("derived again")
	}
	others := []struct {
		password, salt string
		iterations     int
	}{{"pencil2", string(salt), 1}, {"pencil", "0123456789abcdeg", 1}, {"pencil", string(salt), 2},
		// The same bytes, cut elsewhere.
		{"pencil0", "123456789abcdef", 1}}
	for _, o := range others {
		keys, err := cache.derive(o.password, []byte(o.salt), o.iterations)
		if err != nil || keys.ClientKey == first.ClientKey {
			t.Errorf("%v: the keys of another input, %v", o, err)
		}
		if len(cache.entries) > 2 {
			t.Errorf("%d entries, want 2 at most", len(cache.entries))
		}
	}
}

func TestNoKeyCache(t *testing.T) {
	var none *KeyCache
	for _, cache := range []*KeyCache{none, NewKeyCache(0)} {
		keys, err := cache.derive("pencil", []byte("salt"), 1)
		if err != nil || keys == nil {
			t.Errorf("derive = %v, %v", keys, err)
		}
	}
}

func TestKeyCacheFromManyGoroutines(t *testing.T) {
	cache := NewKeyCache(3)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				password := fmt.Sprint((i + j) % 5)
				keys, err := cache.derive(password, []byte("salt"), 1)
				want, _ := deriveKeys(password, []byte("salt"), 1)
				if err != nil || keys.ClientKey != want.ClientKey {
					t.Errorf("keys of another password, %v", err)
				}
			}
		})
	}
	wg.Wait()
}
