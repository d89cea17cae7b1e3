package tlsconf

import "crypto/tls"

// Client gives what o names to a library that speaks another protocol than
// PostgreSQL's over TLS, and knows itself which host it talks to. Below VerifyFull
// any certificate will do; without a CAFile the system's authorities count.
func Client(o Options) (*tls.Config, error) {
	config, roots, err := o.load()
	if err != nil {
		return nil, err
	}
	config.NextProtos = nil // the library's business
	config.RootCAs = roots
	config.InsecureSkipVerify = o.Mode < VerifyFull
	return config, nil
}
