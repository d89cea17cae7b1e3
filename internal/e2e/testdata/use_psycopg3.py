"""What an application does with psycopg 3; prints every result."""
import sys

import psycopg
from psycopg.rows import dict_row

write = sys.argv[1] == "write"
own = sys.argv[2] == "own"  # the server is ours between transactions
conn = psycopg.connect("")
print(conn.info.server_version, conn.info.encoding, conn.info.timezone, conn.info.dbname)
conn.add_notice_handler(lambda d: print("notice", d.severity, d.message_primary))

print(conn.execute("SELECT %s, %s, %s, %s", (1, "zwei ü", b"\x00\xff", None)).fetchone())
print(conn.execute("SELECT %b::int4, %t::text", (7, "seven"), binary=True).fetchone())
cur = conn.cursor(row_factory=dict_row)
print(cur.execute("SELECT g AS n, repeat('r', g) AS r FROM generate_series(1, 5) g").fetchall())
conn.commit()

# The fifth execution is prepared on the server, under a name of psycopg's.
for i in range(12):
    print(conn.execute("SELECT %s + 1 AS next", (i,)).fetchone(), end=" ")
print()
print(conn.execute("SELECT %s * 2", (21,), prepare=True).fetchone())
conn.commit()
if own:
    print(conn.execute("SELECT count(*) > 0 FROM pg_prepared_statements").fetchone())
conn.commit()

for sql in ("SELECT 1/0", "SELEC", "SELECT * FROM nowhere"):
    try:
        conn.execute(sql)
    except psycopg.Error as e:
        print(e.sqlstate, e, conn.info.transaction_status)
    conn.rollback()

with conn.cursor("named") as cur:
    cur.itersize = 7
    cur.execute("SELECT g FROM generate_series(1, 30) g")
    print(sum(n for (n,) in cur))
conn.commit()

with conn.pipeline() as pipe:
    curs = [conn.execute("SELECT %s::int", (i,)) for i in range(20)]
    pipe.sync()
    curs.append(conn.execute("SELECT 'after sync'"))
    print([c.fetchone() for c in curs])
conn.commit()

try:
    with conn.pipeline():
        first = conn.execute("SELECT 'before'")
        conn.execute("SELECT 1/0")
        conn.execute("SELECT 'skipped'")
except psycopg.Error as e:
    print("pipeline", e.sqlstate)
conn.rollback()

try:
    with conn.transaction():
        conn.execute("SELECT 'outer'")
        try:
            with conn.transaction():
                conn.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            print("inner rolled back")
        print(conn.execute("SELECT 'outer goes on'").fetchone())
except psycopg.Error as e:
    print(e)

with conn.cursor() as cur, cur.copy("COPY (SELECT g, 'x' FROM generate_series(1, 1000) g) TO STDOUT (FORMAT binary)") as copy:
    print(sum(len(chunk) for chunk in copy))
conn.commit()
print(len(conn.execute("SELECT repeat('z', 5000000)").fetchone()[0]))
conn.execute("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$")
conn.commit()

if write:
    conn.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text)" + (" ON COMMIT DROP" if not own else ""))
    with conn.cursor() as cur:
        cur.executemany("INSERT INTO t VALUES (%s, %s)", [(i, str(i)) for i in range(500)])
        print(cur.rowcount)
        with cur.copy("COPY t FROM STDIN") as copy:
            for i in range(500, 2000):
                copy.write_row((i, "copied"))
        print(cur.execute("SELECT count(*), sum(a) FROM t").fetchone())
    conn.commit()
    if not own:
        conn.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text) ON COMMIT DROP")
    try:
        with conn.cursor() as cur, cur.copy("COPY t FROM STDIN") as copy:
            copy.write_row((5000, "never"))
            raise RuntimeError("the application gives up")
    except psycopg.errors.QueryCanceled as e:
        print(e, conn.info.transaction_status)
    conn.rollback()
    conn.autocommit = True
    conn.add_notify_handler(lambda n: print(n.channel, n.payload))
    conn.execute("LISTEN e2e")
    conn.execute("NOTIFY e2e, 'heard'")
conn.close()
