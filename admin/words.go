package admin

import (
	"fmt"
	"time"
)

// span gives a time in the two units that matter: "4 min 10 s", "3 d 2 h".
func span(d time.Duration) string {
	d = max(d, 0)
	s := int64(d / time.Second)
	switch {
	case s < 1:
		return "0 s"
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	default:
		return two(s/86400, "d", s%86400/3600, "h")
	}
}

func two(a int64, unit string, b int64, smaller string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unit)
	}
	return fmt.Sprintf("%d %s %d %s", a, unit, b, smaller)
}

// since gives the time from at to now; a dash when it has never been.
func since(now, at time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return span(now.Sub(at))
}

// age gives an age in seconds, finely while it is young; -1 is never.
func age(seconds float64) string {
	switch {
	case seconds < 0:
		return "–"
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	default:
		return span(time.Duration(seconds * float64(time.Second)))
	}
}

// wait gives how long somebody waits, 0 as a dash.
func wait(seconds float64) string {
	switch {
	case seconds <= 0:
		return "–"
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	default:
		return age(seconds)
	}
}

// took gives how long something took.
func took(seconds float64) string {
	switch {
	case seconds < 0.001:
		return fmt.Sprintf("%.0f µs", seconds*1e6)
	case seconds < 1:
		return fmt.Sprintf("%.3g ms", seconds*1000)
	default:
		return fmt.Sprintf("%.3g s", seconds)
	}
}

// size gives bytes.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", f, units[i])
}
