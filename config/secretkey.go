package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
)

// The endings of the keys that say where a secret is instead of giving it.
const (
	fileSuffix = "_file"
	envSuffix  = "_env"
)

// secret is three keys for one secret: the secret itself, the file that holds
// it, and the environment variable that holds it. At most one may be given.
func secret[S any](name string, at func(*S) *Secret) []setting[S] {
	return []setting[S]{
		secretKey(name, "", at, func(_ *reader, text string) (string, error) { return text, nil }),
		secretKey(name, fileSuffix, at, (*reader).secretFile),
		secretKey(name, envSuffix, at, (*reader).secretEnv),
	}
}

func secretKey[S any](
	name, suffix string, at func(*S) *Secret, fetch func(*reader, string) (string, error),
) setting[S] {
	s := setting[S]{name: name + suffix, fill: func(r *reader, into *S, v value) {
		if v.kind != kindScalar {
			r.fault(v.at, v.path, "must be %s, is %s", kindScalar, v.kind)
			return
		}
		base := strings.TrimSuffix(v.path, suffix)
		for _, other := range []string{"", fileSuffix, envSuffix} {
			if _, given := r.seen[base+other]; given && other != suffix {
				r.fault(v.at, v.path, "gives a secret that %s gives too, use one of them", base+other)
				return
			}
		}
		text, err := fetch(r, v.text)
		if err != nil {
			r.fault(v.at, v.path, "%s", err)
			return
		}
		if text == "" {
			r.fault(v.at, v.path, "gives an empty secret")
			return
		}
		*at(into) = NewSecret(text)
	}}
	if suffix != "" {
		return s // the same field by another way
	}
	return fieldOf(s, at)
}

// secretFile reads a secret from a file. One line end is dropped: an editor
// appended it.
func (r *reader) secretFile(path string) (string, error) {
	data, err := r.readFile(r.resolve(path))
	if err != nil {
		return "", errors.New("names " + path + ", which cannot be read: " + cause(err))
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// cause drops "open <path>: " from the error of a file whose path a fault names
// already.
func cause(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

func (r *reader) secretEnv(name string) (string, error) {
	text, ok := r.env(name)
	if !ok {
		return "", errors.New("names the environment variable " + name + ", which is not set")
	}
	return text, nil
}

// resolve makes a path relative to the folder of the configuration, so that the
// place pgvip is started from does not matter.
func (r *reader) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(r.file), path)
}
