package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// saslPrep prepares a password for hashing by the SASLprep profile of RFC 4013,
// just as far as PostgreSQL goes: a password that is not UTF-8, or that has
// characters which the profile prohibits, is used as it stands.
//
// The tables are our own, because the verifier must come out as PostgreSQL's
// does, byte for byte: x/text's precis implements the successor, RFC 8265,
// which normalises differently, and it has no tables of Unicode 3.2.
// Normalisation itself is x/text's.
func saslPrep(password string) string {
	if isASCII(password) || !utf8.ValidString(password) {
		return password
	}
	mapped := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(nonASCIISpace, r):
			return ' '
		case unicode.Is(mappedToNothing, r):
			return -1
		}
		return r
	}, password)
	// PostgreSQL looks for prohibited characters before it normalises; the RFC
	// would look afterwards.
	if mapped == "" || isProhibited(mapped) {
		return password
	}
	return norm.NFKC.String(mapped)
}

// isProhibited applies the bidirectional rule of RFC 3454 section 6 too: a text
// with right-to-left letters begins and ends with one and has no left-to-right
// letters.
func isProhibited(text string) bool {
	var rightToLeft, leftToRight bool
	for _, r := range text {
		if unicode.Is(prohibited, r) || unicode.Is(unassigned, r) {
			return true
		}
		rightToLeft = rightToLeft || unicode.Is(randALCat, r)
		leftToRight = leftToRight || unicode.Is(lCat, r)
	}
	if !rightToLeft {
		return false
	}
	first, _ := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	return leftToRight || !unicode.Is(randALCat, first) || !unicode.Is(randALCat, last)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
