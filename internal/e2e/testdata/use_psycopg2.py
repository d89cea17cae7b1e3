"""What an application does with psycopg2; prints every result."""
import io
import sys

import psycopg2
import psycopg2.extras

write = sys.argv[1] == "write"
own = sys.argv[2] == "own"  # the server is ours between transactions
conn = psycopg2.connect("")
print(conn.server_version, conn.encoding, sorted(
    (n, conn.get_parameter_status(n)) for n in
    ("client_encoding", "DateStyle", "TimeZone", "server_encoding", "standard_conforming_strings", "in_hot_standby")))

with conn, conn.cursor() as cur:
    cur.execute("SELECT %s, %s, %s::bytea, %s", (1, "zwei ü", b"\x00\xff", None))
    print(cur.description[0].type_code, [bytes(c) if isinstance(c, memoryview) else c for c in cur.fetchone()])
    cur.execute("SELECT g, repeat('r', g) FROM generate_series(1, 50) g")
    print(cur.rowcount, cur.fetchmany(3), len(cur.fetchall()))

for sql in ("SELECT 1/0", "SELEC", "SELECT * FROM nowhere"):
    try:
        with conn.cursor() as cur:
            cur.execute(sql)
    except psycopg2.Error as e:
        print(e.pgcode, e.pgerror, e.diag.severity, e.diag.message_primary)
    print(conn.get_transaction_status())
    conn.rollback()

with conn, conn.cursor("named", cursor_factory=psycopg2.extras.DictCursor) as cur:
    cur.itersize = 7
    cur.execute("SELECT g AS n FROM generate_series(1, 30) g")
    print(sum(row["n"] for row in cur))

out = io.StringIO()
with conn, conn.cursor() as cur:
    cur.copy_expert("COPY (SELECT g, 'x' FROM generate_series(1, 1000) g) TO STDOUT", out)
print(len(out.getvalue()))

conn.autocommit = True
with conn.cursor() as cur:
    cur.execute("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$")
    print(conn.notices)
    cur.execute("SET TimeZone = 'Europe/Berlin'")
    print(conn.get_parameter_status("TimeZone"))
conn.set_client_encoding("LATIN1")
print(conn.encoding)
conn.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
with conn, conn.cursor() as cur:
    cur.execute("SHOW transaction_isolation")
    print(cur.fetchall())
conn.reset()

if write:
    with conn, conn.cursor() as cur:
        cur.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text)" + (" ON COMMIT DROP" if not own else ""))
        psycopg2.extras.execute_values(cur, "INSERT INTO t VALUES %s", [(i, str(i)) for i in range(500)])
        cur.copy_expert("COPY t FROM STDIN", io.StringIO("".join(f"{i}\tcopied\n" for i in range(500, 2000))))
        cur.execute("SELECT count(*), sum(a) FROM t")
        print(cur.fetchone())
    try:
        with conn, conn.cursor() as cur:
            if not own:
                cur.execute("CREATE TEMP TABLE t (a int PRIMARY KEY) ON COMMIT DROP; INSERT INTO t VALUES (1)")
            cur.execute("INSERT INTO t VALUES (1)")
    except psycopg2.errors.UniqueViolation as e:
        print(e.diag.constraint_name)
    conn.autocommit = True
    with conn.cursor() as cur:
        # In every mode: who listens keeps the server.
        cur.execute("LISTEN e2e")
        cur.execute("NOTIFY e2e, 'heard'")
        conn.poll()
        print([(n.channel, n.payload) for n in conn.notifies])
    conn.autocommit = False
    large = conn.lobject(0, "wb")
    large.write(b"l" * 100000)
    large.seek(50000)
    print(large.tell())
    large.unlink()
    conn.commit()
conn.close()
