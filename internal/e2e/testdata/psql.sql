-- What people type. The part below "writes" is left out on a replica, and what
-- stands between "state" and "end of state" where a server is not the client's own.
SELECT 1 AS one, 'two' AS two, NULL AS three;
\x on
SELECT 1 AS one, 'two' AS two;
\x off
SELECT g, g * g FROM generate_series(1, 5) g \gdesc
SELECT format('SELECT %s AS n', g) FROM generate_series(1, 3) g \gexec
SELECT 42 AS answer \gset
\echo :answer
SELECT a, b, a * b FROM generate_series(1, 3) a, generate_series(1, 3) b \crosstabview
SELECT 1/0;
\errverbose
SELECT nothing;
SELECT * FROM
nowhere;
BEGIN;
SELECT 1;
SELECT 1/0;
SELECT 2;
ROLLBACK;
COPY (SELECT g, 'row ' || g FROM generate_series(1, 5) g) TO STDOUT;
\copy (SELECT g FROM generate_series(1, 3) g) TO STDOUT WITH (FORMAT csv)
-- state
PREPARE p (int) AS SELECT $1 + 1;
EXECUTE p(41);
DEALLOCATE p;
-- end of state
BEGIN;
PREPARE p (int) AS SELECT $1 + 2;
EXECUTE p(40);
DEALLOCATE p;
COMMIT;
SET TimeZone = 'Asia/Tokyo';
SHOW TimeZone;
RESET TimeZone;
\encoding
SET client_encoding = 'LATIN1';
\encoding
RESET client_encoding;
DO $$ BEGIN RAISE NOTICE 'noticed'; RAISE WARNING 'warned'; END $$;
\set FETCH_COUNT 7
SELECT g FROM generate_series(1, 20) g;
\unset FETCH_COUNT
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1/0;
SELECT 'still in the transaction';
COMMIT;
\set AUTOCOMMIT off
SELECT 1;
ROLLBACK;
\set AUTOCOMMIT on
\d pg_class
\dt pg_catalog.pg_am
\df pg_catalog.int4pl
\l app
\du app
SELECT repeat('x', 100000) \g /dev/null
SELECT length(repeat('x', 3000000));
SELECT pg_is_in_recovery(), current_user, current_database();
-- writes
BEGIN;
CREATE TEMP TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 10) g;
COPY t FROM STDIN;
11	eleven
12	twelve
\.
SELECT count(*), sum(id) FROM t;
COPY t FROM STDIN;
bad line
\.
UPDATE t SET v = 'new' WHERE id > 8 RETURNING id, v;
INSERT INTO t VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING v;
DROP TABLE t;
COMMIT;
