// Compares two OpenAPI documents: what the clients of the first would make of the second. Says what breaks them, and then exits
// with status 1.

import org.openapitools.openapidiff.core.OpenApiCompare
import org.openapitools.openapidiff.core.model.ChangedSchema

// What of a schema is at fault, by the way to it.
List<String> faults(ChangedSchema schema, String way) {
    if (schema == null || !schema.incompatible) return []
    def own = []
    if (schema.changedType) own << "${way}: another type"
    if (schema.enumeration?.missing) own << "${way}: without ${schema.enumeration.missing.join(', ')}"
    own += schema.missingProperties.keySet().collect { "${way}.${it} is gone" }
    own += schema.increasedProperties.keySet().findAll { schema.newSchema.required?.contains(it) }.collect { "${way}.${it} is new" }
    schema.changedProperties.each { name, changed -> own += faults(changed, "${way}.${name}") }
    own += faults(schema.items, "${way}[]")
    own ?: ["${way}: changed"]
}

def (released, present) = args as List
def changes = OpenApiCompare.fromLocations(released, present)
if (!changes.incompatible) return

def said = changes.missingEndpoints.collect { "${it.method} ${it.pathUrl} is gone" }
changes.changedOperations.findAll { it.incompatible }.each { operation ->
    def name = "${operation.httpMethod} ${operation.pathUrl}"
    def parameters = operation.parameters
    if (parameters?.incompatible) {
        said += parameters.missing.collect { "${name}: the parameter ${it.name} is gone" }
        said += parameters.increased.findAll { it.required }.collect { "${name}: the parameter ${it.name} is new and required" }
        parameters.changed.findAll { it.incompatible }.each { said += faults(it.schema, "${name}: the parameter ${it.name}") ?: ["${name}: the parameter ${it.name} is changed"] }
    }
    if (operation.requestBody?.incompatible) {
        operation.requestBody.content?.changed?.each { type, changed -> said += faults(changed.schema, "${name}: body") }
        said += operation.requestBody.content?.missing?.keySet()?.collect { "${name}: a body may no longer be ${it}" } ?: []
    }
    def answers = operation.apiResponses
    if (answers?.incompatible) {
        said += answers.missing.keySet().collect { "${name}: the answer ${it} is gone" }
        answers.changed.findAll { it.value.incompatible }.each { status, answer ->
            answer.content?.changed?.each { type, changed -> said += faults(changed.schema, "${name}: ${status}") }
            said += answer.content?.missing?.keySet()?.collect { "${name}: ${status} is no longer there as ${it}" } ?: []
        }
    }
    if (!said.any { it.startsWith(name) }) said << "${name}: changed"
}
said.unique().each { System.err.println(it) }
System.exit(1)
