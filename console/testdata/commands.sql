show version
SHOW VERSION;
  Show	VERSION ; 
select version
show "version"
show "ver""sion"
SHOW
show foo
show pools extra
show version;;
show version; show version
foo
foo bar baz
'x'
show 'version'
SHOW client_encoding
SHOW TimeZone
SHOW datestyle
SET timezone = 'UTC'
SET datestyle to ISO
set standard_conforming_strings = on
set default_transaction_isolation = 'read committed'
SET nonsense = 1
SET default_pool_size = 30
SET default_pool_size = '20'
set "default_pool_size" to 20
SET query_wait_timeout = 'often'
SET default_pool_size
SET = 1
SET default_pool_size = 
PAUSE pgbouncer
RESUME
RESUME app
PAUSE app
PAUSE app
RESUME app
PAUSE "app"
KILL app
RESUME "app"
KILL app
RESUME app
KILL pgbouncer
RECONNECT
RECONNECT app
RECONNECT pgbouncer
DISABLE
DISABLE app
DISABLE app
DISABLE pgbouncer
ENABLE
ENABLE app
ENABLE nosuchdatabase
ENABLE pgbouncer
RESUME nosuchdatabase
KILL_CLIENT
KILL_CLIENT abc
KILL_CLIENT 4294967
WAIT_CLOSE
WAIT_CLOSE app
WAIT_CLOSE pgbouncer
RELOAD x
RELOAD
SHUTDOWN foo
SUSPEND foo
PAUSE
PAUSE
KILL
RESUME
RESUME
KILL
RESUME
RESUME app
