// A zod schema as Markdown tables: every key with its type, its default and its meaning. For pages that must not drift from the code.

import { z } from 'zod'

interface JsonSchema {
  type?: string | string[]
  description?: string
  default?: unknown
  const?: unknown
  enum?: unknown[]
  pattern?: string
  format?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  items?: JsonSchema
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: JsonSchema | boolean
  propertyNames?: JsonSchema
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
}

interface Alternative {
  title: string
  schema: JsonSchema
}

const WHOLE_MAX = 2 ** 53 - 1 // What zod writes for "any whole number".

/** Tables for the kind: first its own keys, then one for each alternative of a union in it (`checks[]` by type). */
export function schemaReference(schema: z.ZodType): string {
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema
  const alternatives = new Map<string, Alternative[]>()
  const tables = [table(root, alternatives)]
  for (const [path, found] of alternatives) {
    for (const { title, schema: alternative } of found)
      tables.push(`**\`${path.split('.').at(-1)}\` ${title}** ${alternative.description ?? ''}\n\n${table(alternative, new Map())}`)
  }
  return tables.join('\n\n')
}

function table(schema: JsonSchema, alternatives: Map<string, Alternative[]>): string {
  return ['| key | type | default | meaning |', '|---|---|---|---|', ...rowsOf(schema, '', alternatives)].join('\n')
}

function rowsOf({ properties = {}, required = [] }: JsonSchema, path: string, alternatives: Map<string, Alternative[]>): string[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const key = path === '' ? name : `${path}.${name}`
    const row = `| \`${key}\` | ${typeOf(schema)} | ${defaultOf(schema, required.includes(name))} | ${cell(schema.description ?? '')} |`
    return [row, ...childrenOf(schema, key, alternatives)]
  })
}

function childrenOf(schema: JsonSchema, key: string, alternatives: Map<string, Alternative[]>): string[] {
  if (schema.properties !== undefined) return rowsOf(schema, key, alternatives)
  const { items } = schema
  const choices = items?.oneOf ?? items?.anyOf
  if (choices?.every(choice => choice.properties !== undefined)) {
    // Two lists of the same alternatives (verify.checks, waitFor.checks) share their tables.
    const found = choices.map(choice => ({ title: titleOf(choice), schema: choice }))
    const known = [...alternatives].find(([, other]) => JSON.stringify(other) === JSON.stringify(found))
    if (known === undefined) alternatives.set(`${key}[]`, found)
    return []
  }
  return items?.properties === undefined ? [] : rowsOf(items, `${key}[]`, alternatives)
}

/** `of type \`metric\``: by the key that tells alternatives apart. */
function titleOf({ properties = {} }: JsonSchema): string {
  const [key, { const: value }] = Object.entries(properties).find(([, { const: literal }]) => literal !== undefined)!
  return `with \`${key}: ${String(value)}\``
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return code(schema.const)
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ')
  const choices = schema.oneOf ?? schema.anyOf
  if (choices !== undefined) return choices.map(typeOf).join(' or ')
  if (Array.isArray(schema.type)) return schema.type.map(type => typeOf({ ...schema, type })).join(' or ')
  if (schema.pattern?.endsWith('(ms|s|m|h|d)$')) return schema.pattern.startsWith('^[+-]') ? 'time from `now`' : 'duration'
  switch (schema.type) {
    case 'string':
      return schema.format === 'date-time' ? 'time' : 'text'
    case 'integer':
      return `whole number${rangeOf(schema)}`
    case 'number':
      return `number${rangeOf(schema)}`
    case 'array':
      return schema.items?.properties !== undefined
        ? 'list'
        : (schema.items?.oneOf ?? schema.items?.anyOf) !== undefined
          ? 'list, see below'
          : `list of ${typeOf(schema.items!)}`
    case 'object':
      return 'map'
    case 'boolean':
      return '`true`, `false`'
    case 'null':
      return '`null`'
    default:
      return 'anything'
  }
}

function rangeOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): string {
  const from = minimum !== undefined && minimum > -WHOLE_MAX ? `from ${minimum}` : exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : ''
  const to = maximum !== undefined && maximum < WHOLE_MAX ? `to ${maximum}` : exclusiveMaximum !== undefined ? `below ${exclusiveMaximum}` : ''
  const range = [from, to].filter(part => part !== '').join(' ')
  return range === '' ? '' : ` ${range}`
}

function defaultOf(schema: JsonSchema, isRequired: boolean): string {
  if (isRequired) return '*needed*'
  if (schema.default === undefined || schema.properties !== undefined) return '–'
  return code(typeof schema.default === 'string' ? schema.default || '""' : JSON.stringify(schema.default))
}

function code(value: unknown): string {
  return `\`${String(value)}\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
