// The YAML reader: each problem at its line and column, with the hint that repairs it.

import { expect, test } from 'vitest'
import { z } from 'zod'
import { configSchema } from '../../../schemas/config.ts'
import { formatProblem, parseYaml, parseYamlDocuments } from '../../../schemas/yaml.ts'
import { durationSchema, nameSchema } from '../../../schemas/yaml-values.ts'
import { closestName, editDistance } from '../../../schemas/yaml-hints.ts'

const fleet = z.strictObject({
  name: z.string(),
  replicas: z.number().int().min(1).optional(),
  level: z.enum(['low', 'high']).default('low'),
  checks: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({ type: z.literal('http'), url: z.string() }),
        z.strictObject({ type: z.literal('tcp'), port: z.number().int().max(65_535) })
      ])
    )
    .default([])
})

function problemsOf(text: string, schema: z.ZodType = fleet) {
  const parsed = parseYaml(schema, text, 'fleet.yaml')
  return parsed.ok ? [] : parsed.problems
}

test('a valid file gives its value with defaults filled in', () => {
  expect(parseYaml(fleet, 'name: a\n', 'fleet.yaml')).toMatchObject({ ok: true, value: { name: 'a', level: 'low', checks: [] } })
})

test('an unknown key is reported where it stands, with the key that was meant', () => {
  expect(problemsOf('name: a\nreplcas: 3\n')).toEqual([
    { file: 'fleet.yaml', line: 2, column: 1, path: 'replcas', message: 'unknown key', hint: 'Did you mean replicas?' }
  ])
})

test('an unknown key inside a union member is compared with that member only', () => {
  const [problem] = problemsOf('name: a\nchecks:\n  - type: http\n    url: x\n    prot: 3\n')
  expect(problem).toMatchObject({ line: 5, column: 5, path: 'checks[0].prot', hint: 'Known keys: type, url.' })
})

test('a key deep in the configuration schema is suggested through defaults and transforms', () => {
  const text = 'apiVersion: homeostat.io/v1\nkind: Homeostat\nact:\n  drivers:\n    systemd: {units: [a], verb: [restart]}\n'
  expect(problemsOf(text, configSchema)).toMatchObject([{ line: 5, column: 27, path: 'act.drivers.systemd.verb', hint: 'Did you mean verbs?' }])
})

test('a value of the wrong type is reported at the value and shown', () => {
  expect(problemsOf('name: a\nreplicas: many\n')).toMatchObject([{ line: 2, column: 11, message: 'a number is expected, not "many"' }])
})

test('a missing key names its misspelling when one stands beside it', () => {
  const problems = problemsOf('nmae: a\n')
  expect(problems).toMatchObject([
    { line: 1, message: 'a string is expected, and it is missing', hint: 'nmae is there: did you mean name?' },
    { line: 1, hint: 'Did you mean name?' }
  ])
})

test('a wrong choice and a wrong discriminator list what is allowed', () => {
  const problems = problemsOf('name: a\nlevel: hihg\nchecks:\n  - type: htp\n')
  expect(problems).toMatchObject([
    { line: 2, column: 8, message: 'one of low, high is expected, not "hihg"', hint: 'Did you mean high?' },
    { line: 4, column: 11, message: 'one of http, tcp is expected, not "htp"', hint: 'Did you mean http?' }
  ])
})

test('no error says the name of its field twice, at the top or below', () => {
  const lines = (text: string, schema: z.ZodType = fleet): string[] => problemsOf(text, schema).map(problem => formatProblem(problem, '').split('\n')[0]!)
  expect(lines('dataDir: ./data\nintake: {grcp: {port: 1}}\ndetect: {rules: [{name: 7}], threads: 1.5}\n', configSchema)).toEqual([
    'fleet.yaml:1:1: apiVersion: homeostat.io/v1 is expected, and it is missing',
    'fleet.yaml:1:1: kind: Homeostat is expected, and it is missing',
    'fleet.yaml:2:10: intake.grcp: unknown key',
    'fleet.yaml:3:18: detect.rules[0].metric: a string is expected, and it is missing',
    'fleet.yaml:3:25: detect.rules[0].name: a string is expected, not 7',
    'fleet.yaml:3:39: detect.threads: a whole number is expected, not 1.5'
  ])
  expect(lines('[]')).toEqual(['fleet.yaml:1:1: a map is expected, not a list'])
  expect(lines('name: a\nchecks:\n  - {type: http, ulr: x}\n')).toEqual([
    'fleet.yaml:3:5: checks[0].url: a string is expected, and it is missing',
    'fleet.yaml:3:18: checks[0].ulr: unknown key'
  ])
})

test('what is expected is a whole sentence, whatever the rule', () => {
  const schema = z.strictObject({
    wait: durationSchema.optional(),
    names: z.array(z.string()).min(2).max(3).optional(),
    one: z.array(z.string()).min(1).optional(),
    text: z.string().min(1).max(2).optional(),
    share: z.number().gt(0).lt(1).optional(),
    byName: z.record(nameSchema, z.string()).optional(),
    window: z
      .object({ from: z.number(), to: z.number() })
      .refine(({ from, to }) => from < to, 'from is before to')
      .optional()
  })
  const message = (text: string): string => problemsOf(text, schema)[0]!.message
  const duration = 'a duration such as 500ms, 5s, 10m, 2h or 1d is expected'
  expect(message('wait: soon')).toBe(`${duration}, not "soon"`)
  expect(message('wait: 5')).toBe(`${duration}, not 5`)
  expect(message('names: [a]')).toBe('at least 2 entries are expected, not 1')
  expect(message('names: [a, b, c, d]')).toBe('at most 3 entries are expected, not 4')
  expect(message('one: []')).toBe('at least 1 entry is expected, not 0')
  expect(message('text: ""')).toBe('at least 1 character is expected, not ""')
  expect(message('share: 0')).toBe('more than 0 is expected, not 0')
  expect(message('share: 1')).toBe('less than 1 is expected, not 1')
  expect(message('byName: {A b: x}')).toBe('this key is not allowed: a name of at most 63 lower-case letters, digits and dashes is expected, not "A b"')
  expect(message('window: {from: 2, to: 1}')).toBe('from is before to')
})

test('a secret where a reference belongs is not shown, nor the line in which it stands', () => {
  const text = 'apiVersion: homeostat.io/v1\nkind: Homeostat\nstore: {password: hunter2}\n'
  const problems = problemsOf(text, configSchema).map(problem => formatProblem(problem, text))
  expect(problems).toEqual(['fleet.yaml:3:19: store.password: a reference (env:NAME or file:PATH) is expected, not the secret itself'])
})

test('limits are said with their number', () => {
  expect(problemsOf('name: a\nreplicas: 0\nchecks: [{type: tcp, port: 70000}]\n')).toMatchObject([
    { line: 2, message: 'at least 1 is expected, not 0' },
    { line: 3, column: 28, message: 'at most 65535 is expected, not 70000' }
  ])
})

test('syntax errors, duplicate keys and dangling aliases have a line and a column', () => {
  expect(problemsOf('name: a\nname: b\n')).toMatchObject([{ line: 2, column: 1, message: 'Map keys must be unique' }])
  expect(problemsOf('name: "a\n')[0]).toMatchObject({ line: 2 })
  expect(problemsOf('name: *gone\n')).toHaveLength(1)
})

test('an alias bomb is refused instead of expanded', () => {
  const levels = Array.from({ length: 12 }, (_, index) => `l${index + 1}: &l${index + 1} [${Array(9).fill(`*l${index}`).join(', ')}]`)
  expect(problemsOf(`l0: &l0 [x]\n${levels.join('\n')}\n`, z.record(z.string(), z.unknown()))).toMatchObject([{ message: expect.stringContaining('alias') }])
})

test('an empty file and a second document are problems for a single value', () => {
  expect(problemsOf('# nothing\n')).toMatchObject([{ line: 1, message: 'the file has no content' }])
  expect(problemsOf('name: a\n---\nname: b\n')).toMatchObject([{ line: 3, message: 'a second document where one is expected' }])
})

test('a file of several documents checks each by its own schema and skips empty ones', () => {
  const text = 'name: a\n---\n---\nkind: other\n---\nname: 3\n---\n'
  const pick = (raw: unknown) => (typeof raw === 'object' && raw !== null && 'kind' in raw ? `nothing is known of kind ${raw.kind}` : fleet)
  expect(parseYamlDocuments(pick, text, 'fleet.yaml')).toMatchObject({
    ok: false,
    problems: [
      { line: 4, message: 'nothing is known of kind other' },
      { line: 6, column: 7, path: 'name' }
    ]
  })
  const good = parseYamlDocuments(() => fleet, 'name: a\n---\nname: b\n', 'fleet.yaml')
  expect(good.ok && good.documents.map(document => document.value.name)).toEqual(['a', 'b'])
})

test('an offset inside a scalar is placed in plain, quoted and block text', () => {
  const text = 'plain: abc def\nquoted: "abc def"\nblock: |\n  one\n  two\n'
  const parsed = parseYaml(z.record(z.string(), z.string()), text, 'x.yaml')
  if (!parsed.ok) throw new Error('must parse')
  expect(parsed.positions.at(['plain'], 4)).toEqual({ line: 1, column: 12 })
  expect(parsed.positions.at(['quoted'], 4)).toEqual({ line: 2, column: 14 })
  expect(parsed.positions.at(['block'], 5)).toEqual({ line: 5, column: 4 })
  expect(parsed.positions.keyAt(['quoted'])).toEqual({ line: 2, column: 1 })
})

test('a printed problem shows the line with a caret under the column, and the hint', () => {
  const text = 'name: a\n\treplcas: 3\n'
  const problem = { file: 'fleet.yaml', line: 2, column: 2, path: 'replcas', message: 'unknown key', hint: 'Did you mean replicas?' }
  expect(formatProblem(problem, text)).toBe('fleet.yaml:2:2: replcas: unknown key\n  2 | \treplcas: 3\n    | \t^\n  Did you mean replicas?')
})

test('a key named __proto__ pollutes nothing', () => {
  expect(problemsOf('name: a\n__proto__: {polluted: true}\n')).toMatchObject([{ line: 2 }])
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
})

test('edit distance counts a swap of neighbours once, and far names are no hint', () => {
  expect(editDistance('hihg', 'high')).toBe(1)
  expect(editDistance('', 'abc')).toBe(3)
  expect(closestName('autonomie', ['autonomy', 'attempts'])).toBe('autonomy')
  expect(closestName('banana', ['autonomy', 'attempts'])).toBeUndefined()
})
