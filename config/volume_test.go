package config

import "testing"

func TestVolume(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "17B": 17, "64kB": 64 << 10, "256MB": 256 << 20, "2 GB": 2 << 30, "268435456": 256 << 20,
		"": -1, "MB": -1, "-1": -1, "1.5GB": -1, "1TB": -1, "9999999999GB": -1, "256mb": -1,
	} {
		got, err := volume(0)(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	if _, err := volume(2)("1"); err == nil {
		t.Error("1 is taken for at least 2")
	}
}
