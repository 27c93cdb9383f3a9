// Swagger UI as a person uses it: authorize, upload a CSV, read it back. In headless Chromium; nothing but the service is reached.
const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const { TARMAC_URL: url, TARMAC_KEY: key } = process.env;
const csv = "990001,Swagger Field,Nowhere,Browserland,\\N,\\N,1,2,0,0,U,\\N,airport,S\n";

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(30_000);
    const foreign = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && /^https?:/.test(request.url())) foreign.push(request.url());
    });
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`${url}/`);

    await page.locator("button.authorize").first().click();
    await page.locator(".auth-container input").fill(key);
    await page.locator(".auth-btn-wrapper button.authorize").click();
    await page.locator(".auth-btn-wrapper button.btn-done").click();

    const upload = await operation(page, "upload_airports");
    await upload.locator("select.content-type, .body-param-content-type select, [aria-label='Request content type']").first()
      .selectOption("multipart/form-data");
    await upload.locator("input[type=file]").setInputFiles({ name: "one.csv", mimeType: "text/csv", buffer: Buffer.from(csv) });
    await upload.locator("tr[data-param-name='Prefer'] input").fill("wait=60");
    const imported = await execute(page, upload, "/upload");
    assert.equal(imported.status, 200, imported.text);
    assert.equal(JSON.parse(imported.text).counts.accepted, 1);

    const list = await operation(page, "list_airports");
    await list.locator("tr[data-param-name='country'] input").fill("Browserland");
    const airports = await execute(page, list, "/airports");
    assert.equal(airports.status, 200, airports.text);
    assert.equal(JSON.parse(airports.text).data[0].name, "Swagger Field");
    await list.locator(".live-responses-table .response-col_status", { hasText: "200" }).waitFor();

    assert.deepEqual(foreign, []);
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
  }
}

/** Unfolds an operation and makes its fields writable. */
async function operation(page, id) {
  const block = page.locator(`[id$='-${id}'].opblock`);
  await block.locator(".opblock-summary").click();
  await block.locator("button.try-out__btn").click();
  return block;
}

/** Sends the request; what the service answered to the page. */
async function execute(page, block, path) {
  const answered = page.waitForResponse((response) => new URL(response.url()).pathname === path);
  await block.locator("button.execute").click();
  const response = await answered;
  return { status: response.status(), text: await response.text() };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
