package pool

import (
	"slices"
	"testing"

	"github.com/pgvip/pgvip/wire"
)

func TestDefaultsStandBehindWhatTheClientSays(t *testing.T) {
	defaults := []wire.Param{{Name: "client_encoding", Value: "UTF8"}, {Name: "DateStyle", Value: `a\ b`}}
	for _, tt := range []struct {
		name         string
		params, want []wire.Param
	}{
		{"nothing said", nil, defaults},
		{"something else", []wire.Param{{Name: "TimeZone", Value: "UTC"}},
			append([]wire.Param{{Name: "TimeZone", Value: "UTC"}}, defaults...)},
		{"another spelling", []wire.Param{{Name: "datestyle", Value: "ISO"}},
			[]wire.Param{{Name: "datestyle", Value: "ISO"}, defaults[0]}},
		{"options", []wire.Param{{Name: "options", Value: "-c DateStyle=ISO"}},
			[]wire.Param{{Name: "options", Value: `-c DateStyle=a\\\ b -c client_encoding=UTF8 -c DateStyle=ISO`}}},
	} {
		before := slices.Clone(tt.params)
		if got := withDefaults(tt.params, defaults); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if !slices.Equal(tt.params, before) {
			t.Errorf("%s: the client's own parameters were changed", tt.name)
		}
	}
}
