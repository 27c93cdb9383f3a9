"""Makes the Postman collection of the OpenAPI document: a folder for the main job, and one for each tag with every operation.

Usage: collection.py openapi/openapi.yaml >openapi/tarmac.postman_collection.json
"""

import json
import sys

import yaml

FIXTURE = "fixtures/airports/valid-header.csv"
# What the path parameters of operations are in a run: the main job sets these variables.
VARIABLES = {"/airports/{id}": "airportId", "/imports/{id}": "importId", "{cid}": "citizenId"}
# Parameters without which an answer would not end.
ENDING = {"seconds": "1"}

document = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))


def example(schema):
    """A value that the schema allows: its example, that of what it refers to, or of its parts."""
    if "$ref" in schema:
        return example(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "example" in schema:
        return schema["example"]
    if schema.get("type") == "object":
        return {name: example(part) for name, part in schema.get("properties", {}).items()}
    return {"integer": 1, "number": 1, "boolean": False, "array": []}.get(schema.get("type"), "")


def script(lines):
    return [{"listen": "test", "script": {"type": "text/javascript", "exec": lines}}]


def url(path, query=()):
    parts = []
    for number, part in enumerate(path.strip("/").split("/")):
        if part.startswith("{"):
            prefix = "/" + "/".join(path.strip("/").split("/")[:number]) + "/" + part
            part = "{{" + VARIABLES.get(prefix, VARIABLES.get(part, part.strip("{}"))) + "}}"
        parts.append(part)
    raw = "{{baseUrl}}/" + "/".join(parts)
    return {"raw": raw, "host": ["{{baseUrl}}"], "path": parts, "query": list(query)}


def body(operation):
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        text = json.dumps(example(content["application/json"]["schema"]), indent=2, ensure_ascii=False)
        return {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}}, "application/json"
    if "multipart/form-data" in content:
        return {"mode": "formdata", "formdata": [{"key": "file", "type": "file", "src": FIXTURE}]}, None
    return None, None


def item(path, method, operation):
    parameters = operation.get("parameters", [])
    query = [
        {
            "key": parameter["name"],
            "value": ENDING.get(parameter["name"], str(parameter["schema"].get("example", ""))),
            "description": parameter.get("description", ""),
            "disabled": parameter["name"] not in ENDING and not parameter.get("required", False),
        }
        for parameter in parameters
        if parameter["in"] == "query"
    ]
    payload, content_type = body(operation)
    request = {
        "method": method.upper(),
        "description": operation.get("description", ""),
        "header": [{"key": "Content-Type", "value": content_type}] if content_type else [],
        "url": url(path, query),
    }
    if payload:
        request["body"] = payload
    if operation.get("security") == []:
        request["auth"] = {"type": "noauth"}
    documented = sorted(int(status) for status in operation["responses"] if int(status) < 500)
    tests = [
        f"pm.test('{operation['operationId']}: the status is a documented one', () =>",
        f"    pm.expect({json.dumps(documented)}).to.include(pm.response.code));",
        "pm.test('the answer has a request id', () => pm.response.to.have.header('X-Request-Id'));",
    ]
    return {"name": operation["summary"], "event": script(tests), "request": request}


def step(name, method, path, tests, query=(), headers=(), payload=None):
    request = {
        "method": method,
        "header": [{"key": key, "value": value} for key, value in headers],
        "url": url(path, [{"key": key, "value": value} for key, value in query]),
    }
    if payload:
        request["body"] = payload
    return {"name": name, "event": script(tests), "request": request}


def main_job():
    form = {"mode": "formdata", "formdata": [{"key": "file", "type": "file", "src": FIXTURE}]}
    citizens = document["paths"]["/imports"]["post"]
    return [
        step(
            "Upload airports and wait for the end", "POST", "/upload",
            [
                "const uploaded = pm.response.json();",
                "pm.test('all rows are accepted', () => pm.expect(uploaded.counts.accepted).to.equal(11));",
                "pm.test('the import is complete', () => pm.expect(uploaded.state).to.equal('complete'));",
            ],
            [("force", "true")], [("Prefer", "wait=60")], form,
        ),
        step(
            "Read airports back", "GET", "/airports",
            [
                "const airports = pm.response.json().data;",
                "pm.test('there are airports', () => pm.expect(airports).to.not.be.empty);",
                "pm.collectionVariables.set('airportId', airports[0].id);",
            ],
            [("limit", "1")],
        ),
        step(
            "Import citizens", "POST", "/imports",
            [
                "pm.test('they are stored', () => pm.response.to.have.status(201));",
                "pm.collectionVariables.set('importId', pm.response.json().data.import_id);",
            ],
            headers=[("Content-Type", "application/json")], payload=body(citizens)[0],
        ),
        step(
            "Read their birthdays", "GET", "/imports/{id}/citizens/birthdays",
            ["pm.test('there are twelve months', () => pm.expect(Object.keys(pm.response.json().data)).to.have.length(12));"],
        ),
    ]


def collection():
    folders = {tag["name"]: {"name": tag["name"], "description": tag.get("description", ""), "item": []} for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            # The others say nothing that these do not.
            if method not in ("head", "options"):
                folders[operation["tags"][0]]["item"].append(item(path, method, operation))
    variables = {"baseUrl": "http://127.0.0.1:8080", "key": "", "importId": "1", "airportId": "1", "citizenId": "1", "name": "not-found", "token": "none"}
    return {
        "info": {
            "name": document["info"]["title"],
            "description": document["info"]["description"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{key}}", "type": "string"}]},
        "variable": [{"key": key, "value": value} for key, value in variables.items()],
        "item": [{"name": "The main job", "description": "Run these first: the others use what they find.", "item": main_job()}, *folders.values()],
    }


json.dump(collection(), sys.stdout, indent=2, ensure_ascii=False)
print()
