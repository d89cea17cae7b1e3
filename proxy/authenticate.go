package proxy

// authenticate runs the exchange that auth_type asks for, AuthenticationOk
// included: like PostgreSQL, pgvip looks at the database only afterwards.
func (a *attempt) authenticate(ask *request) error {
	settings := a.proxy.settings.Load()
	secret, found := settings.Users.Lookup(ask.user)
	l := a.proxy.auth.Begin(settings.AuthMethod, ask.user, secret, found)
	if a.tlsState != nil {
		l.Bind(a.tlsState.binding)
	}
	send, done, failed := l.Start()
	for failed == nil {
		if _, err := a.conn.Write(send); err != nil {
			return errQuiet
		}
		if done {
			a.proxy.pools.SetCredential(ask.user, l.Credential())
			return nil
		}
		body, err := readPassword(&a.reader, l.MaxMessage())
		if err != nil {
			return err
		}
		a.proxy.compute <- struct{}{}
		send, done, failed = l.Step(body)
		<-a.proxy.compute
	}
	a.reason = l.Reason()
	return failed
}
