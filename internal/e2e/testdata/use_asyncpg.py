"""What an application does with asyncpg; prints every result."""
import asyncio
import sys

import asyncpg

write = sys.argv[1] == "write"


async def reads(conn):
    print(conn.get_server_version(), conn.get_settings().client_encoding, conn.get_settings().server_encoding)
    for i in range(3):  # prepared once under a name of asyncpg's, then reused
        print(await conn.fetchrow("SELECT $1::int + 1 AS n, $2::text AS t, $3::bytea AS b", i, "zwei ü", b"\x00\xff"))
    print(await conn.fetchval("SELECT array_agg(g) FROM generate_series(1, $1) g", 5))
    for sql in ("SELECT 1/0", "SELEC", "SELECT * FROM nowhere"):
        try:
            await conn.fetch(sql)
        except asyncpg.PostgresError as e:
            print(e.sqlstate, e)
    stmt = await conn.prepare("SELECT g FROM generate_series(1, $1::int) g")
    print(stmt.get_parameters(), stmt.get_attributes())
    for n in (1, 20):
        print(len(await stmt.fetch(n)))
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        total = 0
        async for row in conn.cursor("SELECT g FROM generate_series(1, 300) g", prefetch=7):
            total += row["g"]
        print(total, await conn.fetchval("SHOW transaction_isolation"))
    try:
        async with conn.transaction():
            try:
                async with conn.transaction():
                    await conn.execute("SELECT 1/0")
            except asyncpg.DivisionByZeroError:
                print("inner rolled back")
            print(await conn.fetchval("SELECT 'outer goes on'"))
            raise RuntimeError("the application gives up")
    except RuntimeError as e:
        print(e)
    try:
        await conn.execute("SELECT pg_sleep(60)", timeout=0.2)
    except asyncio.TimeoutError:
        print("cancelled by a time-out")
    print(await conn.execute("SELECT 1; SELECT 2"))
    print(len(await conn.fetchval("SELECT repeat('z', 5000000)")))


async def writes(conn):
    async with conn.transaction():
        await conn.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text) ON COMMIT DROP")
        await conn.executemany("INSERT INTO t VALUES ($1, $2)", [(i, str(i)) for i in range(500)])
        print(await conn.copy_records_to_table("t", records=[(i, "copied") for i in range(500, 2000)]))
        print(await conn.fetchrow("SELECT count(*), sum(a) FROM t"))
        try:
            async with conn.transaction():
                await conn.copy_records_to_table("t", records=[(1, "again")])
        except asyncpg.UniqueViolationError as e:
            print(e.constraint_name)
        print(await conn.fetchval("SELECT count(*) FROM t"))
    heard = asyncio.get_running_loop().create_future()
    # In every mode: who listens keeps the server.
    await conn.add_listener("e2e", lambda _, pid, channel, payload: heard.set_result((channel, payload)))
    await conn.execute("NOTIFY e2e, 'heard'")
    print(await heard)


async def main():
    conn = await asyncpg.connect()
    await reads(conn)
    if write:
        await writes(conn)
    await conn.close()
    # Its pool resets each connection that comes back.
    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
        print(await asyncio.gather(*(pool.fetchval("SELECT $1::int * 2", i) for i in range(40))))


asyncio.run(main())
