"""Citizens as a service in Python: aiohttp, asyncpg and marshmallow, in one process, as a team that knows them would write it.

service.py URL makes its tables in the database, listens on a port of loopback and prints it. It speaks of Tarmac's contract what is compared: POST /imports with
JSON, the list, changes, birthdays and percentiles of an import, with the rules for fields and relations. Rows are stored by COPY, statistics are
counted by the database.
"""

import asyncio
import datetime
import json
import sys

import asyncpg
from aiohttp import web
from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates

TABLES = """
create table aiohttp_imports (import_id bigint generated always as identity primary key);
create table aiohttp_citizens (
    import_id bigint not null, citizen_id bigint not null, town text not null, street text not null, building text not null, apartment bigint not null,
    name text not null, birth_date date not null, gender text not null, relatives bigint[] not null, channel text, primary key (import_id, citizen_id)
);
"""
COLUMNS = ("citizen_id", "town", "street", "building", "apartment", "name", "birth_date", "gender", "relatives", "channel")
DATE = "%d.%m.%Y"


def has_letter_or_digit(text):
    if not any(character.isalnum() for character in text):
        raise ValidationError("must have a letter or a digit")


class Citizen(Schema):
    class Meta:
        unknown = RAISE

    citizen_id = fields.Int(strict=True, required=True, validate=validate.Range(min=0))
    town = fields.Str(required=True, validate=[validate.Length(min=1, max=256), has_letter_or_digit])
    street = fields.Str(required=True, validate=[validate.Length(min=1, max=256), has_letter_or_digit])
    building = fields.Str(required=True, validate=[validate.Length(min=1, max=256), has_letter_or_digit])
    apartment = fields.Int(strict=True, required=True, validate=validate.Range(min=0))
    name = fields.Str(required=True, validate=validate.Length(min=1, max=256))
    birth_date = fields.Date(required=True, format=DATE)
    gender = fields.Str(required=True, validate=validate.OneOf(("male", "female")))
    relatives = fields.List(fields.Int(strict=True, validate=validate.Range(min=0)), required=True)
    channel = fields.Str(validate=validate.Length(min=1, max=256))

    @validates("birth_date")
    def is_past(self, value, data_key):
        if value >= datetime.datetime.now(datetime.timezone.utc).date():
            raise ValidationError("must be past")


CITIZENS = Citizen(many=True)
CHANGE = Citizen(partial=True, exclude=["citizen_id"])


def refused(message):
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def load(schema, value):
    try:
        return schema.load(value)
    except ValidationError as error:
        raise refused(error.normalized_messages()) from error


def shown(row):
    citizen = dict(row)
    citizen["birth_date"] = citizen["birth_date"].strftime(DATE)
    return citizen


def check_relatives(citizens):
    relatives = {citizen["citizen_id"]: set(citizen["relatives"]) for citizen in citizens}
    if len(relatives) < len(citizens):
        raise refused("a citizen_id is there twice")
    for citizen, own in relatives.items():
        for relative in own:
            if citizen not in relatives.get(relative, ()):
                raise refused(f"{citizen} and {relative} are not relatives of each other")


async def post(request):
    body = await request.json()
    if not isinstance(body, dict) or set(body) != {"citizens"}:
        raise refused("citizens is required, and nothing else")
    citizens = load(CITIZENS, body["citizens"])
    check_relatives(citizens)
    async with request.app["pool"].acquire() as connection, connection.transaction():
        number = await connection.fetchval("insert into aiohttp_imports default values returning import_id")
        rows = ((number, *(citizen.get(column) for column in COLUMNS)) for citizen in citizens)
        await connection.copy_records_to_table("aiohttp_citizens", columns=("import_id", *COLUMNS), records=rows)
    return web.json_response({"data": {"import_id": number}}, status=201)


async def citizens(request):
    rows = await request.app["pool"].fetch(
        f"select {', '.join(COLUMNS)} from aiohttp_citizens where import_id = $1 order by citizen_id", int(request.match_info["number"])
    )
    return web.json_response({"data": [shown(row) for row in rows]})


async def patch(request):
    number, citizen = int(request.match_info["number"]), int(request.match_info["citizen"])
    change = load(CHANGE, await request.json())
    if not change:
        raise refused("nothing is changed")
    async with request.app["pool"].acquire() as connection, connection.transaction():
        # One change of an import at a time: relations stay mutual.
        await connection.execute("select pg_advisory_xact_lock($1)", number)
        before = await connection.fetchrow("select relatives from aiohttp_citizens where import_id = $1 and citizen_id = $2", number, citizen)
        if before is None:
            raise web.HTTPNotFound()
        if "relatives" in change:
            old, new = set(before["relatives"]), set(change["relatives"])
            for statement, others in (("array_append(relatives, $2)", new - old), ("array_remove(relatives, $2)", old - new)):
                others.discard(citizen)
                if others:
                    done = await connection.execute(
                        f"update aiohttp_citizens set relatives = {statement} where import_id = $1 and citizen_id = any($3)", number, citizen, list(others)
                    )
                    if done != f"UPDATE {len(others)}":
                        raise refused("a relative is not there")
        places = ", ".join(f"{column} = ${place}" for place, column in enumerate(change, 3))
        row = await connection.fetchrow(
            f"update aiohttp_citizens set {places} where import_id = $1 and citizen_id = $2 returning {', '.join(COLUMNS)}",
            number,
            citizen,
            *change.values(),
        )
    return web.json_response({"data": shown(row)})


async def birthdays(request):
    rows = await request.app["pool"].fetch(
        """select extract(month from born.birth_date)::integer as month, buyer.citizen_id, count(*) as presents
           from aiohttp_citizens buyer cross join unnest(buyer.relatives) as relative (id)
           join aiohttp_citizens born on born.import_id = $1 and born.citizen_id = relative.id
           where buyer.import_id = $1 group by 1, 2 order by 1, 2""",
        int(request.match_info["number"]),
    )
    months = {str(month): [] for month in range(1, 13)}
    for row in rows:
        months[str(row["month"])].append({"citizen_id": row["citizen_id"], "presents": row["presents"]})
    return web.json_response({"data": months})


async def percentiles(request):
    rows = await request.app["pool"].fetch(
        """select town, percentile_cont(array[0.5, 0.75, 0.99]) within group (order by
               extract(year from age((now() at time zone 'utc')::date, birth_date))) as ages
           from aiohttp_citizens where import_id = $1 group by town""",
        int(request.match_info["number"]),
    )
    return web.json_response({"data": [{"town": row["town"], **dict(zip(("p50", "p75", "p99"), row["ages"]))} for row in rows]})


async def main():
    app = web.Application(client_max_size=70 * 1024 * 1024)
    app["pool"] = await asyncpg.create_pool(sys.argv[1], min_size=10, max_size=10)
    await app["pool"].execute(TABLES)
    app.add_routes([
        web.post("/imports", post),
        web.get("/imports/{number}/citizens", citizens),
        web.patch("/imports/{number}/citizens/{citizen}", patch),
        web.get("/imports/{number}/citizens/birthdays", birthdays),
        web.get("/imports/{number}/towns/stat/percentile/age", percentiles),
    ])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
