"""Loads citizens as programs in Python do: load.py copy|executemany|json|body URL TABLE FILE ROWS

FILE is a CSV as clients send it, for json what body printed. The first ROWS rows are loaded, in one transaction; printed are the seconds it took, from
connecting to the commit.
"""

import asyncio
import csv
import datetime
import itertools
import json
import sys
import time

import asyncpg

COLUMNS = ("import_id", "row", "citizen_id", "town", "street", "building", "apartment", "name", "birth_date", "gender", "relatives", "channel")


def citizens(file, rows):
    with open(file, encoding="utf-8", newline="") as lines:
        records = itertools.islice(csv.reader(lines), 1, rows + 1)
        for row, (number, town, street, building, apartment, name, birth, gender, relatives, channel) in enumerate(records, 1):
            day, month, year = birth.split(".")
            yield (
                1,
                row,
                int(number),
                town,
                street,
                building,
                int(apartment),
                name,
                datetime.date(int(year), int(month), int(day)),
                gender,
                [int(relative) for relative in relatives.split(";")] if relatives else [],
                channel or None,
            )


async def load(way, url, table, file, rows):
    columns = ", ".join(COLUMNS)
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        if way == "copy":
            await connection.copy_records_to_table(table, columns=COLUMNS, records=citizens(file, rows))
        elif way == "executemany":
            places = ", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))
            await connection.executemany(f"insert into {table} ({columns}) values ({places})", citizens(file, rows))
        else:
            with open(file, encoding="utf-8") as body:
                await connection.execute(
                    f"""insert into {table} ({columns}) select {columns} from json_to_recordset($1) as body (
                        import_id bigint, row bigint, citizen_id bigint, town text, street text, building text, apartment bigint,
                        name text, birth_date date, gender text, relatives bigint[], channel text)""",
                    body.read(),
                )
    await connection.close()


def main():
    way, url, table, file, rows = sys.argv[1:]
    if way == "body":
        body = [dict(zip(COLUMNS, citizen)) for citizen in citizens(file, int(rows))]
        json.dump(body, sys.stdout, ensure_ascii=False, default=str, separators=(",", ":"))
        return
    started = time.perf_counter()
    asyncio.run(load(way, url, table, file, int(rows)))
    print(time.perf_counter() - started)


main()
