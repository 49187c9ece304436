// Roles as processes of their own: on a real broker and ClickHouse over HTTP the loop goes through all of them; on the embedded log a
// process holds a part of the way that needs nothing else. Each ends in order on one signal.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { listProcesses } from '../../actuators/drivers/process-table.ts'
import type { ConfigInput } from '../../schemas/config.ts'
import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Incident } from '../../schemas/incident.ts'
import { type ClickHouseProcess, startClickHouse } from '../support/clickhouse-process.ts'
import { type HomeostatProcess, homeostat, startHomeostat, statusOf } from '../support/homeostat-process.ts'
import { httpCall } from '../support/intake.ts'
import { type KafkaBroker, kafkaSkipReason, startKafka } from '../support/kafka-broker.ts'
import { eventually } from '../support/log-tools.ts'

/** Processes start within seconds on free cores; what is waited for inside has limits of its own, with words. */
const timeout = 240_000
/** As pipeline/main.ts has it: signals closer than this are one. */
const SIGNAL_ECHO_MS = 1_000
const FREE = { port: 0 }
const doors = { intake: { grpc: FREE, http: FREE }, health: { listen: FREE }, console: { listen: FREE } }
/** A queue that is too long from its first point on: no baseline to wait for. */
const rules = [{ name: 'queue-too-long', metric: 'queue.length', above: 100, severity: 'critical' as const }]

const folder = mkdtempSync(join(tmpdir(), 'homeostat-roles-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A gauge of `shop` that stands at `value`, a point a second until now. */
async function sendQueueLength(address: string, value: number, points = 30): Promise<void> {
  const nowMs = Date.now()
  const dataPoints = Array.from({ length: points }, (_, index) => ({ timeUnixNano: `${nowMs - (points - index) * 1_000}000000`, asDouble: value }))
  const attributes = Object.entries({ 'service.name': 'shop', 'service.instance.id': 'shop-1' }).map(([key, text]) => ({ key, value: { stringValue: text } }))
  const body = JSON.stringify({
    resourceMetrics: [{ resource: { attributes }, scopeMetrics: [{ metrics: [{ name: 'queue.length', gauge: { dataPoints } }] }] }]
  })
  const { status } = await httpCall(address, { headers: { 'content-type': 'application/json' }, body })
  expect(status).toBe(200)
}

/** Its readiness says so; 503 is no failure here. */
async function isClosing(health: string): Promise<boolean> {
  const { checks } = (await (await fetch(`${health}/readyz`)).json()) as { checks: { name: string; ok: boolean }[] }
  return checks.some(({ name, ok }) => name === 'started' && !ok)
}

async function get<Answer>(url: string): Promise<Answer> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as Answer
}

describe('a part of the way on the embedded log', { timeout }, () => {
  let running: HomeostatProcess | undefined
  afterEach(() => running?.end('SIGKILL'))

  it('takes telemetry and finds what is wrong with it, without a store or a console, and ends in order', async () => {
    running = startHomeostat(folder, 'subset', { roles: 'intake,detect', config: { ...doors, detect: { rules, window: '1s', lateness: '1s' } } })
    await running.ready()
    const { http, health, roles } = running.addresses()
    expect(roles).toBe('intake,detect')
    await sendQueueLength(http!, 500)
    await eventually('the anomaly is counted', async () => /homeostat_detect_anomal\w*(\{[^}]*\})? [1-9]/.test(await (await fetch(`${health}/metrics`)).text()))

    expect(await homeostat(running.configFile, ['status'])).toMatchObject({ code: 2, stderr: expect.stringContaining('without a console') })
    expect(await running.end()).toBe(0)
    expect(running.lines().at(-1)).toMatchObject({ msg: 'homeostat stopped' })
  })

  it('gives up what it opens when it is told to stop', async () => {
    // Nobody answers there, so the store role goes on trying.
    running = startHomeostat(folder, 'interrupted', { roles: 'intake,store', config: { ...doors, store: { url: 'http://127.0.0.1:9' } } })
    await eventually('it waits for ClickHouse', () => running!.lines().some(({ msg }) => String(msg).startsWith('not to be had yet')))
    expect(await running.end()).toBe(0)
  })

  it('ends at once on a second signal, and takes a role that hangs with it', async () => {
    running = startHomeostat(folder, 'hanging', { roles: 'intake,store', config: doors })
    await running.ready()
    const hosted = listProcesses().find(({ parent }) => parent === running!.pid)!
    process.kill(hosted.pid, 'SIGSTOP')
    const ended = running.end()
    await eventually('it took the signal', () => isClosing(running!.addresses().health!))
    await delay(SIGNAL_ECHO_MS + 500)
    await running.end()
    expect(await ended).toBe(143)
    await eventually('the hosted role is gone', () => !listProcesses().some(({ pid, state }) => pid === hosted.pid && state !== 'Z'))
  })

  it('is refused with what to set when something else is needed, before anything is made', async () => {
    running = startHomeostat(folder, 'refused', { roles: 'detect', config: doors })
    expect(await running.end('SIGCONT')).toBe(3)
    expect(await homeostat(running.configFile, ['start', '--role', 'detectr'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Did you mean detect?')
    })
  })
})

const noBroker = kafkaSkipReason()
if (noBroker !== undefined) process.stderr.write(`skipped: roles as processes: ${noBroker}\n`)

describe.skipIf(noBroker !== undefined)(`every role a process${noBroker === undefined ? '' : ` (skipped: ${noBroker})`}`, { timeout }, () => {
  const ROLES = ['intake', 'detect', 'control', 'act', 'store', 'console'] as const
  const processes = new Map<string, HomeostatProcess>()
  const publicKeyFile = join(folder, 'commands.pem')
  let broker: KafkaBroker | undefined
  let clickHouse: ClickHouseProcess | undefined
  const address = (role: (typeof ROLES)[number], door: string): string => processes.get(role)!.addresses()[door]!

  beforeAll(async () => {
    ;[broker, clickHouse] = await Promise.all([startKafka(), startClickHouse()])
    const shared: Partial<ConfigInput> = {
      ...doors,
      log: { kind: 'kafka' },
      kafka: { brokers: broker.brokers, topics: { replication: 1, minInsyncReplicas: 1 } },
      store: { url: clickHouse.url, batchInterval: '200ms' },
      detect: { rules, window: '1s', lateness: '1s' },
      act: { verificationKeyFiles: [publicKeyFile] },
      self: { endpoint: 'off' }
    }
    const controlConfig = join(folder, 'operator.yaml')
    writeFileSync(controlConfig, JSON.stringify({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', ...shared, dataDir: join(folder, 'control') }))
    const operate = async (...command: string[]): Promise<string> => {
      const { code, stdout, stderr } = await homeostat(controlConfig, command)
      expect(code, stderr).toBe(0)
      return stdout
    }
    await operate('keys', 'init')
    writeFileSync(publicKeyFile, await operate('keys', 'public'))
    await operate('topics', 'apply')
    for (const role of ROLES) processes.set(role, startHomeostat(folder, role, { roles: role, config: shared }))
    await Promise.all([...processes.values()].map(each => each.ready()))
  }, timeout)

  afterAll(async () => {
    await Promise.all([...processes.values()].map(each => each.end('SIGKILL')))
    await Promise.all([broker?.stop(), clickHouse?.stop()])
  })

  it('each answers its own probes and names its role in its log', async () => {
    for (const [role, each] of processes) {
      expect(await statusOf(`${each.addresses().health}/livez`), role).toBe(200)
      await eventually(`a line of ${role}`, () => each.lines().some(line => line.role === role))
    }
    expect(new Set([...processes.values()].map(({ pid }) => pid)).size).toBe(ROLES.length)
  })

  it('the way goes through all of them: telemetry, anomaly, incident, decision, rows', async () => {
    await sendQueueLength(address('intake', 'http'), 500)
    const page = address('console', 'console')
    let incident: Incident | undefined
    await eventually('an incident of shop with a decision', async () => {
      await sendQueueLength(address('intake', 'http'), 500, 2)
      incident = (await get<Incident[]>(`${page}/api/incidents`)).find(({ causes }) => causes[0]?.entity.startsWith('shop'))
      return incident !== undefined && (await get<{ decisions: unknown[] }>(`${page}/api/incidents/${incident.id}`)).decisions.length > 0
    })
    // The console reads each topic at its own pace.
    const anomalies = () => get<Anomaly[]>(`${page}/api/anomalies`)
    await eventually('its anomaly', async () => (await anomalies()).some(({ metric }) => metric === 'queue.length'))
    const story = () => get<{ explanation: string[] }>(`${page}/api/incidents/${incident!.id}`)
    await eventually('its explanation', async () => (await story()).explanation.join('\n').includes(incident!.title))

    // The console reads the server that the store fills.
    const count = async (table: string, where: string): Promise<number> => {
      const [row] = await get<{ n: number }[]>(`${page}/api/sql?query=${encodeURIComponent(`SELECT count() AS n FROM ${table} WHERE ${where}`)}`)
      return row!.n
    }
    await eventually('points are in ClickHouse', async () => (await count('otel_metrics_gauge', "MetricName = 'queue.length'")) >= 30)
    await eventually('the incident is in ClickHouse', async () => (await count('homeostat_incidents', `IncidentId = '${incident!.id}'`)) > 0)
    const points = await get<unknown[]>(`${page}/api/series?entity=shop@shop-1&metric=queue.length`)
    expect(points.length).toBeGreaterThanOrEqual(30)
  })

  it('status is answered by the process with the console, which sees the lag of all', async () => {
    // A group is seen once it has committed, and a busy machine's log may answer the probe too late: then it is not ready for a moment.
    await eventually('the lag of all', async () => {
      const { code, stdout } = await homeostat(processes.get('console')!.configFile, ['status', '--json'])
      const { roles, lag } = JSON.parse(stdout) as { roles: string[]; lag: Record<string, number> }
      expect(roles).toEqual(['console'])
      return code === 0 && ['homeostat-detect', 'homeostat-decide', 'homeostat-store'].every(group => group in lag)
    })
    expect(await homeostat(processes.get('intake')!.configFile, ['status'])).toMatchObject({ code: 2 })
  })

  it('the console says where training runs', async () => {
    const answer = await homeostat(processes.get('console')!.configFile, ['train'])
    expect(answer).toMatchObject({ code: 2, stderr: expect.stringContaining('--role console,train') })
  })

  it('one SIGTERM ends each of them in order, with 0', async () => {
    const codes = await Promise.all([...processes].map(async ([role, each]) => [role, await each.end()]))
    expect(Object.fromEntries(codes)).toEqual(Object.fromEntries(ROLES.map(role => [role, 0])))
    for (const [role, each] of processes) {
      expect(each.lines().at(-1), role).toMatchObject({ msg: 'homeostat stopped' })
      expect(
        each.lines().filter(({ msg }) => msg === 'a part did not close cleanly'),
        role
      ).toEqual([])
    }
  })
})
