"""The main job with a Python client that openapi-python-client made of the document: upload, read back, be refused."""

import io
import os

from tarmac_client import AuthenticatedClient, Client
from tarmac_client.api.airports import get_airport, list_airports
from tarmac_client.api.citizens import get_age_percentiles
from tarmac_client.api.imports import get_import, import_citizens, list_rejects, upload_airports
from tarmac_client.models import UploadAirportsFilesBody
from tarmac_client.types import File

URL = os.environ["TARMAC_URL"]
client = AuthenticatedClient(base_url=URL, token=os.environ["TARMAC_KEY"])

with open("fixtures/airports/rejected.csv", "rb") as file:
    upload = UploadAirportsFilesBody(file=File(payload=io.BytesIO(file.read()), file_name="rejected.csv", mime_type="text/csv"))
answer = upload_airports.sync_detailed(client=client, body=upload, force=True, prefer="wait=60")
assert answer.status_code == 200, answer
imported = answer.parsed
assert (imported.state.value, imported.counts.rows_read, imported.counts.rejected) == ("complete", 24, 22), imported

again = get_import.sync(imported.id, client=client)
assert again.counts.accepted == 2 and again.error is None and again.filename == "rejected.csv", again
rejects = list_rejects.sync(imported.id, client=client, limit=1)
assert [(reject.row, reject.column, reject.code) for reject in rejects.data] == [(3, "latitude", "out_of_range")], rejects

airports = list_airports.sync(client=client, country="Testland")
assert [airport.iata for airport in airports.data] == ["Q0Z"], airports
one = get_airport.sync(airports.data[0].id, client=client)
assert one.name == airports.data[0].name, one

missing = get_airport.sync_detailed(999_999, client=client)
assert missing.status_code == 404 and missing.parsed.type_ == "/problems/not-found", missing
stranger = get_airport.sync_detailed(one.id, client=Client(base_url=URL))
assert stranger.status_code == 401 and stranger.parsed.type_ == "/problems/unauthorized", stranger
