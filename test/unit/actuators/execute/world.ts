// A small world for the executor's tests: one target with a health of its own, a driver that counts effects outside the
// code under test, signals that show the health, and everything on a virtual clock.

import { generateKeyPairSync } from 'node:crypto'
import { type ActOptions, type ActWorker, actWorker } from '../../../../actuators/execute/executor.ts'
import { commandSigner, commandVerifier } from '../../../../actuators/execute/signer.ts'
import { type Command, type CommandStep, commandRecord } from '../../../../schemas/command.ts'
import { type Control, controlRecord } from '../../../../schemas/control.ts'
import { decodeRecord, encodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { type Outcome, outcomeRecord } from '../../../../schemas/outcome.ts'
import type { Driver, DriverClass, DriverOrder, Logger, Meter, Page, Signals } from '../../../../schemas/ports.ts'
import type { RunbookStep } from '../../../../schemas/runbook.ts'
import { commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { type MemoryLedger, memoryLedger } from '../../../support/memory-ledger.ts'
import { type MemoryLog, memoryLog } from '../../../support/memory-log.ts'
import { seededRandom, type VirtualClock, virtualClock } from '../../../support/virtual-clock.ts'

export const START_MS = 1_800_000_000_000
export const TARGET = 'shop/orders@orders-1'
export const ENVIRONMENT = 'test'

const { privateKey } = generateKeyPairSync('ed25519')
export const signer = commandSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
export const verifier = commandVerifier({ keys: { [signer.keyId]: signer.publicKeyPem } })

export interface World {
  clock: VirtualClock
  log: MemoryLog
  ledger: MemoryLedger
  driver: FakeDriver
  pages: Page[]
  counts: Map<string, number>
  options: ActOptions
  worker: ActWorker
  /** Latency that the target shows from `atMs` on, one sample a second; undefined = no telemetry. */
  health(atMs: number, latencyMs: number | undefined): void
  send(command: Command): Promise<void>
  say(control: Control): Promise<void>
  outcomes(): Outcome[]
}

export interface FakeDriver extends Driver {
  /** Effects on the target by idempotency key. */
  effects: Map<string, number>
  orders: DriverOrder[]
  /** What happens at apply: default is the effect and success. */
  onApply: (order: DriverOrder, effect: () => void, signal: AbortSignal) => Promise<void> | void
  onEffect: (order: DriverOrder) => void
}

export function fakeDriver(driverClass: DriverClass = 'detectable'): FakeDriver {
  const effects = new Map<string, number>()
  const driver: FakeDriver = {
    name: 'fake',
    verbs: { restart: driverClass, start: driverClass, heavy: driverClass, revert: driverClass },
    effects,
    orders: [],
    onApply: (_order, effect) => effect(),
    onEffect: () => {},
    check({ target }) {
      if (target === 'forbidden') throw new AppError('step_refused', 'target forbidden is not on the list')
    },
    observe: async () => ({ state: 'running', facts: { pid: 7, restarts: effects.size } }),
    async apply(order, signal) {
      driver.orders.push(order)
      const effect = (): void => {
        effects.set(order.idempotencyKey, (effects.get(order.idempotencyKey) ?? 0) + 1)
        driver.onEffect(order)
      }
      await driver.onApply(order, effect, signal)
      return { detail: `${order.verb} done` }
    },
    wasApplied: async order => (effects.has(order.idempotencyKey) ? 'yes' : 'no')
  }
  return driver
}

export function aStep(name: string, over: Partial<RunbookStep> = {}): CommandStep {
  const step: RunbookStep = {
    name,
    action: { driver: 'fake', verb: name === 'heavy' ? 'heavy' : 'restart', args: {} },
    timeout: 10_000,
    settle: 2_000,
    verify: {
      deadline: 30_000,
      holdFor: 5_000,
      checks: [
        { name: 'latency', type: 'metric', metric: 'latency', attributes: {}, aggregate: 'mean', window: 10_000, minSamples: 3, expect: 'value < 200.0' }
      ]
    },
    ...over
  }
  return { idempotencyKey: `key-${name}`, name, step }
}

let commands = 0
export function aCommand(over: Partial<Command> = {}): Command {
  const number = ++commands
  const {
    keyId: _keyId,
    signature: _signature,
    ...unsigned
  }: Command = {
    id: `command-${number}`,
    incidentId: '0'.repeat(31) + (number % 10),
    decisionId: 'decision-1',
    environment: ENVIRONMENT,
    target: TARGET,
    runbook: 'restart',
    runbookVersion: '1',
    policy: 'default',
    policyVersion: '1',
    attempt: 1,
    risk: 'low',
    cost: 2,
    steps: [{ ...aStep('restart'), idempotencyKey: `key-${number}` }],
    incident: { severity: 'critical', members: [{ entity: TARGET, metric: 'latency', attributes: {}, direction: 'above' }] },
    cause: { entity: TARGET, signature: 'latency' },
    startedAtMs: START_MS - 30_000,
    issuedAtMs: START_MS,
    expiresAtMs: START_MS + 60_000,
    fence: number,
    nonce: `nonce-${number}`,
    keyId: '',
    signature: '',
    ...over
  }
  return signer.sign(unsigned)
}

export function aWorld(over: { driver?: FakeDriver; options?: Partial<ActOptions> } = {}): World {
  const clock = virtualClock(START_MS)
  const log = memoryLog({ nowMs: () => clock.nowMs() })
  const history: { atMs: number; latencyMs: number | undefined }[] = [
    { atMs: START_MS - 600_000, latencyMs: 50 },
    { atMs: START_MS - 30_000, latencyMs: 900 }
  ]
  const signals: Signals = {
    async series({ environment, metric, fromMs, toMs }) {
      if (environment !== ENVIRONMENT || metric !== 'latency') return [] // Nobody verifies in one environment by what another shows.
      const points: { atMs: number; value: number }[] = []
      for (let atMs = Math.ceil(fromMs / 1_000) * 1_000; atMs <= Math.min(toMs, clock.nowMs()); atMs += 1_000) {
        const value = history.findLast(change => change.atMs <= atMs)?.latencyMs
        if (value !== undefined) points.push({ atMs, value })
      }
      return points
    },
    logs: async (_entity, _fromMs, _toMs, _rowsMax, environment) =>
      environment === ENVIRONMENT ? [{ atMs: START_MS, severity: 'ERROR', body: 'too slow' }] : [],
    spans: async () => []
  }
  const driver = over.driver ?? fakeDriver()
  const ledger = memoryLedger()
  const pages: Page[] = []
  const counts = new Map<string, number>()
  const meter: Meter = { count: (name, value = 1) => void counts.set(name, (counts.get(name) ?? 0) + value), gauge: () => {} }
  const options: ActOptions = {
    ...{ log, ledger, verifier, signals, clock, meter, logger: silent, environment: ENVIRONMENT },
    drivers: { fake: driver },
    probe: async () => ({ status: 200 }),
    tcpProbe: async () => {},
    escalations: { default: { notify: async page => void pages.push(page) } },
    config: { concurrencyMax: 4 },
    random: seededRandom(1),
    ...over.options
  }
  return {
    ...{ clock, log, ledger, driver, pages, counts, options },
    worker: actWorker(options),
    health: (atMs, latencyMs) => void history.push({ atMs, latencyMs }),
    async send(command) {
      await log.append(commandsTopic(ENVIRONMENT), [encodeRecord(commandRecord, command)])
    },
    async say(control) {
      await log.append(TOPICS.control.name, [encodeRecord(controlRecord, control)])
    },
    outcomes: () => outcomesOf(log)
  }
}

export function outcomesOf(log: MemoryLog): Outcome[] {
  return log.records(TOPICS.outcomes.name).map(record => {
    const decoded = decodeRecord(outcomeRecord, record)
    if (!decoded.ok) throw new Error(decoded.reason)
    return decoded.record
  })
}

export const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silent }

/** How often each idempotency key had an effect. */
export const actions = (world: Pick<World, 'driver'>): number[] => [...world.driver.effects.values()]

/** The target is well again `afterMs` after each act. */
export function healsAfter(world: World, afterMs: number): void {
  world.driver.onEffect = () => world.health(world.clock.nowMs() + afterMs, 60)
}

/** Starts the worker, sends the command and lets time pass. @returns the outcomes so far */
export async function runOne(world: World, command: Command = aCommand(), ms = 120_000): Promise<Outcome[]> {
  await world.worker.start()
  await world.send(command)
  await world.clock.advance(ms)
  return world.outcomes()
}
