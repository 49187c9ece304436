// Which roles run in a process, and what is refused before anything is opened.

import { describe, expect, it } from 'vitest'
import { checkRoles, ROLES, selectRoles } from '../../../../pipeline/roles/select.ts'
import { type Config, type ConfigInput, configSchema } from '../../../../schemas/config.ts'

const aConfig = (overrides: Partial<ConfigInput> = {}): Config => configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', ...overrides })
const CLUSTER = { log: { kind: 'kafka' as const }, kafka: { brokers: ['127.0.0.1:9092'] } }
const check = (list: string, overrides: Partial<ConfigInput> = {}): void => checkRoles(selectRoles(list), aConfig(overrides))

describe('the list of roles', () => {
  it('is every role when none is named', () => {
    expect([...selectRoles(undefined)]).toEqual([...ROLES])
    expect([...selectRoles(' ')]).toEqual([...ROLES])
  })

  it('keeps the order of the way of the data, once each, whatever is typed', () => {
    expect([...selectRoles(' store,intake , detect,intake')]).toEqual(['intake', 'detect', 'store'])
  })

  it.each([
    ['detector', 'detect'],
    ['contrl', 'control'],
    ['actuator', 'act'],
    ['consoel', 'console']
  ])('takes %s for a slip and suggests %s', (typed, meant) => {
    expect(() => selectRoles(`intake,${typed}`)).toThrow(new RegExp(`no role ${typed}: .*Did you mean ${meant}\\?`))
  })

  it('names the roles where nothing is near, and where the list is only commas', () => {
    expect(() => selectRoles('xyzzy')).toThrow(/no role xyzzy: the roles are intake, detect, control, act, store, train, console\.$/)
    expect(() => selectRoles(', ,')).toThrow(expect.objectContaining({ code: 'usage' }))
  })
})

describe('what can run together', () => {
  it('is everything in one process on the embedded log', () => expect(() => check('')).not.toThrow())

  it.each(['intake,store', 'intake,detect', 'intake,detect,store,console', 'intake,detect,control,act,store,console'])(
    'includes %s on the embedded log, since nothing else is needed',
    list => expect(() => check(list)).not.toThrow()
  )

  it.each([
    ['detect', /detect reads what intake writes.*log\.kind: kafka/],
    ['intake,control', /control reads what detect writes/],
    ['intake,detect,store,act', /act reads what control writes/],
    ['store,console', /store reads what intake writes/],
    ['intake', /nobody would read what intake takes/]
  ])('does not include %s on the embedded log, which belongs to one process', (list, sentence) => {
    expect(() => check(list)).toThrow(expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(sentence) }))
  })

  it.each(ROLES.filter(role => role !== 'train'))('includes %s alone on a cluster with a ClickHouse server', role => {
    expect(() => check(role, { ...CLUSTER, store: { url: 'http://127.0.0.1:8123' } })).not.toThrow()
  })

  it.each(['act', 'console'])('does not include %s away from an embedded ClickHouse', role => {
    expect(() => check(role, CLUSTER)).toThrow(expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(/^store\.url: the role/) }))
    expect(() => check(`${role},store`, CLUSTER)).not.toThrow()
  })

  it('does not include the topics of Collectors on the embedded log, which no Collector writes', () => {
    const intake = { topics: { enabled: true } }
    expect(() => check('', { intake })).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(/^intake\.topics: .*log\.kind: kafka/) })
    )
    expect(() => check('intake', { ...CLUSTER, intake })).not.toThrow()
  })

  it('does not include train without the console that asks for it', () => {
    expect(() => check('train', CLUSTER)).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringContaining('--role console,train') }))
  })
})
