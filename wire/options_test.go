package wire

import (
	"slices"
	"testing"
)

func TestParseOptions(t *testing.T) {
	tests := []struct {
		name    string
		options string
		params  []Param
		rest    []string
	}{
		{"empty", "", nil, nil},
		{"blanks", " \t\n\v\f\r ", nil, nil},
		{"-c with a blank", "-c a=b", []Param{{"a", "b"}}, nil},
		{"-c joined", "-ca=b", []Param{{"a", "b"}}, nil},
		{"long", "--a=b", []Param{{"a", "b"}}, nil},
		{"dashes in names", "--statement-timeout=5-s -c work-mem=1-2", []Param{{"statement_timeout", "5-s"}, {"work_mem", "1-2"}}, nil},
		{"equals sign in the value", "-c a=b=c", []Param{{"a", "b=c"}}, nil},
		{"empty value", "-c a=", []Param{{"a", ""}}, nil},
		{"escaped blank", `-c a=b\ c\ \ d`, []Param{{"a", "b c  d"}}, nil},
		{"escaped backslash", `-c a=b\\c`, []Param{{"a", `b\c`}}, nil},
		{"escaped letter", `-c a=\b`, []Param{{"a", "b"}}, nil},
		{"backslash at the end", `-c a=b\`, []Param{{"a", "b"}}, nil},
		{"quotes mean nothing", `-c a='b c'`, []Param{{"a", "'b"}}, []string{"c'"}},
		{"order is kept", "-c a=1 --b=2 -c a=3", []Param{{"a", "1"}, {"b", "2"}, {"a", "3"}}, nil},
		{"flag", "-e", nil, []string{"-e"}},
		{"flag joined with -c", "-ec a=b", []Param{{"a", "b"}}, []string{"-e"}},
		{"flags joined", "-eF", nil, []string{"-e", "-F"}},
		{"switch with argument", "-S 64 -c a=b", []Param{{"a", "b"}}, []string{"-S", "64"}},
		{"switch with joined argument", "-S64", nil, []string{"-S64"}},
		{"argument that looks like -c", "-S -c a=b", nil, []string{"-S", "-c", "a=b"}},
		{"switch without its argument", "-S", nil, []string{"-S"}},
		{"unknown switch", "-Zc a=b", nil, []string{"-Zc", "a=b"}},
		{"stray words", "x -c a=b -", []Param{{"a", "b"}}, []string{"x", "-"}},
		{"-c and no more", "-e -c", nil, []string{"-e", "-c"}},
		{"setting without a name", "-c =5 --=6 -e", nil, []string{"-c", "=5", "--=6", "-e"}},
		{"end of switches", "-c a=b -- -c d=e", []Param{{"a", "b"}}, []string{"--", "-c", "d=e"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params, rest, err := ParseOptions(tt.options)
			if err != nil || !slices.Equal(params, tt.params) || !slices.Equal(rest, tt.rest) {
				t.Errorf("ParseOptions(%q) = %q, %q, %v, want %q, %q", tt.options, params, rest, err, tt.params, tt.rest)
			}
		})
	}
}

func TestParseOptionsRefusesSettingWithoutValue(t *testing.T) {
	for options, message := range map[string]string{
		"-c a":      "-c a requires a value",
		"-ca":       "-c a requires a value",
		"--a-b":     "--a-b requires a value",
		"-e -c a b": "-c a requires a value",
	} {
		_, _, err := ParseOptions(options)
		wantError(t, err, CodeSyntaxError, message)
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add(`-c a=b --c-d=e\ f`)
	f.Add(`-ec a=b -S 64 -- x\`)
	f.Add(`-S \`)
	f.Fuzz(func(t *testing.T, options string) {
		params, rest, err := ParseOptions(options)
		if err != nil {
			return
		}
		text := FormatOptions(params, rest)
		params2, rest2, err := ParseOptions(text)
		if err != nil || !slices.Equal(params, params2) || !slices.Equal(rest, rest2) {
			t.Fatalf("%q gives %q, %q; written as %q that gives %q, %q, %v",
				options, params, rest, text, params2, rest2, err)
		}
	})
}
