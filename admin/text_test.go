package admin

import (
	"bytes"
	"testing"
)

func TestTextTellsEachState(t *testing.T) {
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			v := s.full()
			var b bytes.Buffer
			if err := WriteText(&b, &v); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", b.Bytes())
		})
	}
}
