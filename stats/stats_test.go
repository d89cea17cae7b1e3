package stats

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAverageIsForASecondOrForOne(t *testing.T) {
	old := Traffic{Xacts: 10, Queries: 20, Received: 100, XactTime: time.Second}
	now := Traffic{Xacts: 30, Queries: 60, Received: 1100, XactTime: 3 * time.Second, WaitTime: time.Second}
	got := now.Average(&old, 10*time.Second)
	want := Traffic{Xacts: 2, Queries: 4, Received: 100, XactTime: 100 * time.Millisecond}
	if got != want {
		t.Errorf("average = %+v, want %+v", got, want)
	}
}

func TestAverageOfNothing(t *testing.T) {
	now := Traffic{Xacts: 30}
	if got := now.Average(&Traffic{}, 0); got != (Traffic{}) {
		t.Errorf("without a span of time: %+v, want zeroes", got)
	}
	// Counters that went back, after a pool was forgotten, give no giant rates.
	if got := now.Average(&Traffic{Xacts: 31, XactTime: time.Hour}, time.Second); got != (Traffic{}) {
		t.Errorf("counters that went back: %+v, want zeroes", got)
	}
}

func TestAddAddsEverything(t *testing.T) {
	one := Traffic{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	sum := one
	sum.Add(&one)
	if want := (Traffic{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}); sum != want {
		t.Errorf("sum = %+v, want %+v", sum, want)
	}
}

func TestAveragerLooksBackOneToTwoPeriods(t *testing.T) {
	start := time.Unix(1000, 0)
	a := NewAverager(start)
	reading := Traffic{Queries: 50}
	if got := a.Average(start.Add(5*time.Second), "db", &reading).Queries; got != 10 {
		t.Errorf("before the first tick: %d queries/s, want 10", got)
	}
	a.Tick(start.Add(10*time.Second), map[string]Traffic{"db": {Queries: 100}})
	a.Tick(start.Add(20*time.Second), map[string]Traffic{"db": {Queries: 1100}})
	reading.Queries = 1600
	if got := a.Average(start.Add(25*time.Second), "db", &reading).Queries; got != 100 {
		t.Errorf("after two ticks: %d queries/s, want (1600-100)/15", got)
	}
}

func TestEveryDurationHasItsBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(18*time.Hour)).Draw(t, "ns"))
		i := bucket(d)
		if d >= upper(i) {
			t.Errorf("%v is in bucket %d, which ends at %v", d, i, upper(i))
		}
		if i > 0 && d < upper(i-1) {
			t.Errorf("%v is in bucket %d, but bucket %d ends at %v", d, i, i-1, upper(i-1))
		}
		if end := upper(i); end > d+d/splits+2*time.Microsecond {
			t.Errorf("%v is in a bucket that ends at %v, more than a quarter further", d, end)
		}
	})
}

func TestQuantiles(t *testing.T) {
	var h, other Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("median of nothing = %v, want 0", got)
	}
	for range 98 {
		h.Observe(100 * time.Microsecond)
	}
	other.Observe(time.Second)
	other.Observe(-time.Second) // a clock that went back
	h.Add(&other)
	if got := h.Count(); got != 100 {
		t.Errorf("count = %d, want 100", got)
	}
	for _, tt := range []struct {
		q        float64
		from, to time.Duration
	}{{0, 0, 2 * time.Microsecond}, {0.5, 100 * time.Microsecond, 128 * time.Microsecond}, {1, time.Second, 1250 * time.Millisecond}} {
		if got := h.Quantile(tt.q); got < tt.from || got > tt.to {
			t.Errorf("quantile %v = %v, want between %v and %v", tt.q, got, tt.from, tt.to)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	for range b.N {
		h.Observe(317 * time.Microsecond)
	}
}

// A bucket of Prometheus ends at a power of two of microseconds, where one of ours
// does too.
func TestHistogramCountsBelowPowersOfTwo(t *testing.T) {
	var h Histogram
	for us := range 5000 {
		h.Observe(time.Duration(us) * time.Microsecond)
	}
	h.Observe(time.Hour)
	for _, us := range []uint64{1, 2, 4, 64, 256, 4096} {
		if got := h.Below(time.Duration(us) * time.Microsecond); got != us {
			t.Errorf("below %d µs are %d, want %d", us, got, us)
		}
	}
	if got := h.Below(67 * time.Second); got != 5000 {
		t.Errorf("below a minute are %d, want 5000", got)
	}
}
