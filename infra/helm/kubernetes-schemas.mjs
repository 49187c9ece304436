// From Kubernetes' OpenAPI document to one strict JSON Schema a kind, named as kubeconform looks for them: deployment-apps-v1.json.
//
// usage: node kubernetes-schemas.mjs swagger.json folder
// Strict: a property that the API does not know is an error (the API server would drop it without a word). Run by tools.sh, before
// anything is installed, so it imports only what Node itself has.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [file, folder] = process.argv.slice(2)
const REFERENCE = '#/definitions/'
const { definitions } = JSON.parse(readFileSync(file, 'utf8'))

/** Types whose JSON is not what their entry says. */
const SPECIAL = {
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { oneOf: [{ type: 'string' }, { type: 'integer' }] },
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { oneOf: [{ type: 'string' }, { type: 'number' }] }
}

function strict(node) {
  if (Array.isArray(node)) return node.map(strict)
  if (node === null || typeof node !== 'object') return node
  const copy = Object.fromEntries(
    Object.entries(node)
      .filter(([name, value]) => !name.startsWith('x-') || typeof value === 'object')
      .map(([name, value]) => [name, strict(value)])
  )
  if (typeof copy.properties === 'object' && copy.additionalProperties === undefined) copy.additionalProperties = false
  return copy
}

/** Names of every definition that one reaches. */
function reached(name, seen = new Set()) {
  if (seen.has(name)) return seen
  seen.add(name)
  for (const [, next] of JSON.stringify(definitions[name]).matchAll(/"#\/definitions\/([^"]+)"/g)) reached(next, seen)
  return seen
}

mkdirSync(folder, { recursive: true })
let count = 0
for (const [name, definition] of Object.entries(definitions)) {
  const kinds = definition['x-kubernetes-group-version-kind'] ?? []
  if (kinds.length !== 1 || definition.properties?.kind === undefined) continue
  const { group, version, kind } = kinds[0]
  const parts = Object.fromEntries([...reached(name)].map(each => [each, SPECIAL[each] ?? strict(definitions[each])]))
  parts[name].properties.apiVersion.enum = [group === '' ? version : `${group}/${version}`]
  parts[name].properties.kind.enum = [kind]
  parts[name].required = [...new Set([...(parts[name].required ?? []), 'apiVersion', 'kind'])]
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', $ref: `${REFERENCE}${name}`, definitions: parts }
  const suffix = group === '' ? version : `${group.split('.')[0]}-${version}`
  writeFileSync(join(folder, `${kind.toLowerCase()}-${suffix}.json`), JSON.stringify(schema))
  count++
}
console.error(`${count} schemas in ${folder}`)
