// The main job with a TypeScript client: types that openapi-typescript made of the document, requests by openapi-fetch.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./tarmac.js";

const { TARMAC_URL: baseUrl, TARMAC_KEY: key, TARMAC_FIXTURE: fixture } = process.env;
assert(baseUrl && key && fixture);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

const uploaded = await client.POST("/upload", {
  params: { query: { force: true }, header: { Prefer: "wait=60" } },
  body: { file: "" },
  bodySerializer: () => {
    const form = new FormData();
    form.append("file", new Blob([readFileSync(fixture)]), "valid-header.csv");
    return form;
  },
});
assert.equal(uploaded.response.status, 200, JSON.stringify(uploaded.error));
const upload = uploaded.data;
assert(upload);
assert.equal(upload.state, "complete");
assert.equal(upload.counts.accepted, 11);

const { data: imported } = await client.GET("/imports/{id}", { params: { path: { id: upload.id } } });
assert.equal(imported?.filename, "valid-header.csv");
assert.equal(imported?.error, null);

const { data: airports } = await client.GET("/airports", { params: { query: { iata: "CDG" } } });
assert(typeof airports === "object" && "data" in airports);
assert.equal(airports.data[0]?.icao, "LFPG");

const citizen = {
  citizen_id: 1, town: "Keflavik", street: "Hafnargata", building: "2", apartment: 7, name: "Anna",
  birth_date: "26.12.1986", gender: "female" as const, relatives: [1],
};
const stored = await client.POST("/imports", { body: { citizens: [citizen] } });
assert.equal(stored.response.status, 201, JSON.stringify(stored.error));
const made = stored.data;
assert(made && "data" in made);
const path = { id: made.data.import_id };
const { data: birthdays } = await client.GET("/imports/{id}/citizens/birthdays", { params: { path } });
assert.deepEqual(birthdays?.data["12"], [{ citizen_id: 1, presents: 1 }]);

const missing = await client.GET("/airports/{id}", { params: { path: { id: 999_999 } } });
assert.equal(missing.error?.type, "/problems/not-found");
const stranger = await createClient<paths>({ baseUrl }).GET("/airports");
assert.equal(stranger.response.status, 401);
