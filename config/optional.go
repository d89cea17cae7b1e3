package config

import "fmt"

// Optional is a setting that may be left out, which is not the same as 0 or "".
// Its zero value is left out.
type Optional[T any] struct {
	value T
	set   bool
}

// Some is a setting that is there.
func Some[T any](value T) Optional[T] { return Optional[T]{value, true} }

// Or gives the setting, and fallback when it is left out.
func (o Optional[T]) Or(fallback T) T {
	if o.set {
		return o.value
	}
	return fallback
}

// IsSet reports whether it is there.
func (o Optional[T]) IsSet() bool { return o.set }

// String gives the value, or "" when it is left out.
func (o Optional[T]) String() string {
	if !o.set {
		return ""
	}
	return fmt.Sprint(o.value)
}
