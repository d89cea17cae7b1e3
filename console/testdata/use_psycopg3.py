"""What an operator's script does with psycopg 3; prints what comes back."""
import psycopg

conn = psycopg.connect("")
cur = conn.execute("SHOW VERSION")  # begins a transaction
print(cur.fetchone(), conn.info.transaction_status.name)
conn.commit()
print(conn.info.transaction_status.name)
with conn.transaction():
    print(conn.execute("SHOW POOLS").fetchone()[:3])
conn.autocommit = True
# Extended protocol, in text and in binary, and prepared on the server.
print(conn.execute("SHOW POOLS", prepare=True).fetchone()[:3])
cur = conn.cursor(binary=True)
print(cur.execute("SHOW STATS").fetchone()[:4])
print(cur.execute("SHOW DNS_HOSTS").fetchone())
print(cur.execute("SHOW DATABASES").fetchone()[:5])
for sql, args in (("SHOW NONSENSE", None), ("SHOW %s", ("POOLS",)), ("SET default_pool_size = %s", (3,))):
    try:
        conn.execute(sql, args)
    except psycopg.Error as e:
        print(e.sqlstate, e.diag.message_primary)
with conn.pipeline():
    a = conn.execute("PAUSE app")
    b = conn.execute("SHOW STATE")
    c = conn.execute("RESUME app")
print(a.statusmessage, b.fetchall(), c.statusmessage)
conn.close()
