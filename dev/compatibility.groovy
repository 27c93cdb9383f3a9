// Compares two OpenAPI documents: what the clients of the first would make of the second. Exit status 1 when it breaks them.

import org.openapitools.openapidiff.core.OpenApiCompare
import org.openapitools.openapidiff.core.output.ConsoleRender

def (released, present) = args as List
def changes = OpenApiCompare.fromLocations(released, present)
if (changes.incompatible) {
    def text = new ByteArrayOutputStream()
    new ConsoleRender().render(changes, new OutputStreamWriter(text))
    System.err.print(text)
    System.exit(1)
}
