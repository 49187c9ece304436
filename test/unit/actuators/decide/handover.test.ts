// The control role on several instances: one owns diagnose and decide, whatever happens to it another goes on, and what is
// decided is what one undisturbed instance decides.

import { generateKeyPairSync } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { decideWorker } from '../../../../actuators/decide/worker.ts'
import { commandSigner } from '../../../../actuators/execute/signer.ts'
import { diagnoseWorker } from '../../../../detectors/diagnose/worker.ts'
import { checkpointStore } from '../../../../pipeline/log/checkpoint-store.ts'
import { type Anomaly, anomalyRecord } from '../../../../schemas/anomaly.ts'
import { type Command, commandRecord } from '../../../../schemas/command.ts'
import { type Decision, decisionRecord } from '../../../../schemas/decision.ts'
import { decodeRecord, encodeRecord, type RecordType } from '../../../../schemas/envelope.ts'
import { type Incident, incidentRecord } from '../../../../schemas/incident.ts'
import { outcomeRecord, type Verdict } from '../../../../schemas/outcome.ts'
import type { Logger, Meter } from '../../../../schemas/ports.ts'
import { commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { auditOf } from '../../../support/audit-chains.ts'
import { type MemoryLog, memoryLog } from '../../../support/memory-log.ts'
import { type Stoppable, stoppable } from '../../../support/stoppable.ts'
import { seededRandom, type VirtualClock, virtualClock } from '../../../support/virtual-clock.ts'
import { absence, closing } from '../../detectors/diagnose/builders.ts'
import { anOutcome, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const { privateKey } = generateKeyPairSync('ed25519')
const signer = commandSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
const POLICY = policyYaml(
  'autonomy: auto\ncooldown: {initial: 5s, jitter: 0}\nattempts: {max: 3, window: 1h}',
  'all',
  'cause.service in ["orders", "cart", "mail"]'
)
const DECIDE = { commandExpiry: 60_000, policiesDir: undefined, runbooksDir: undefined, signingKeyFile: undefined } as never
const DIAGNOSE = { groupWindow: 30_000, resolveAfter: 20_000 }
const GROUPS = ['homeostat-diagnose', 'homeostat-decide']
const SESSION_S = 6
const SECONDS = 270
const QUIET_FROM_S = 190
const SEEDS = 10
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const meter: Meter = { count() {}, gauge() {} }

/** Three services fall silent one after another; the second needs two attempts, nobody can say what helped the third. */
const ONSETS: { atS: number; backS: number; verdicts: Verdict[]; anomaly: Anomaly }[] = [
  { atS: 10, backS: 40, verdicts: ['healed'], anomaly: absence('lab/orders@orders-1', 'telemetry', { atS: 10, severity: 'critical' }) },
  { atS: 60, backS: 130, verdicts: ['ineffective', 'healed'], anomaly: absence('lab/cart@cart-1', 'telemetry', { atS: 60, severity: 'critical' }) },
  { atS: 120, backS: 230, verdicts: [], anomaly: absence('lab/mail@mail-1', 'telemetry', { atS: 120, severity: 'critical' }) }
]
const OUTCOME_AFTER_S = 12

interface World {
  clock: VirtualClock
  log: MemoryLog
  members: { process: Stoppable; close: () => Promise<void> }[]
}

async function join(world: World): Promise<void> {
  const process = stoppable(world)
  const { clock, log } = process
  const ports = { log, clock, meter, logger: silent }
  const diagnose = diagnoseWorker({ ...ports, checkpoints: checkpointStore(log), config: DIAGNOSE })
  const decide = decideWorker({
    ...{ ...ports, checkpoints: checkpointStore(log), config: DECIDE, policies: policySet(POLICY, runbookYaml()), environments: ['lab'] },
    ...{ sign: signer.sign, signAnchor: signer.signAnchor, escalations: {}, random: seededRandom(world.members.length + 1) }
  })
  await diagnose.start()
  await decide.start()
  world.members.push({
    process,
    async close() {
      await diagnose.close()
      await decide.close()
    }
  })
}

const all = <T>(log: MemoryLog, topic: string, type: RecordType<T>): T[] =>
  log.records(topic).flatMap(record => {
    const decoded = decodeRecord(type, record)
    return decoded.ok ? [decoded.record] : []
  })
const put = async <T>(log: MemoryLog, topic: string, type: RecordType<T>, record: T): Promise<void> =>
  void (await log.append(topic, [encodeRecord(type, record)]))

async function turns(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise(resolve => setImmediate(resolve))
}

/** The world around: anomalies as detection tells them, outcomes some time after each new command. */
function surroundings(world: World): (second: number) => Promise<void> {
  const due = new Map<string, { second: number; decision: Decision; verdict: Verdict }>()
  return async second => {
    const { log } = world
    for (const { atS, backS, anomaly } of ONSETS) {
      if (atS === second) await put(log, TOPICS.anomalies.name, anomalyRecord, anomaly)
      if (backS === second) await put(log, TOPICS.anomalies.name, anomalyRecord, closing(anomaly, backS))
    }
    for (const { id, target, attempt } of all<Command>(log, commandsTopic('lab'), commandRecord)) {
      if (due.has(id)) continue
      const decision = all<Decision>(log, TOPICS.decisions.name, decisionRecord).find(one => one.commandId === id)!
      const verdict = ONSETS.find(({ anomaly }) => anomaly.entity === target)!.verdicts[attempt - 1] ?? 'inconclusive'
      due.set(id, { second: second + OUTCOME_AFTER_S, decision, verdict })
    }
    for (const { second: at, decision, verdict } of due.values()) {
      if (at !== second) continue
      const recordedAtMs = world.clock.nowMs()
      await put(
        log,
        TOPICS.outcomes.name,
        outcomeRecord,
        anOutcome(decision, verdict, { recordedAtMs, healedAtMs: verdict === 'healed' ? recordedAtMs : null })
      )
    }
  }
}

interface Due {
  second: number
  run: () => Promise<void>
}

async function disturb(world: World, second: number, random: { next(): number }, due: Due[]): Promise<void> {
  if (due.length > 0 || random.next() > 0.15) return
  // Mostly the owner: it was there first.
  const victim = random.next() < 0.8 ? 0 : world.members.length - 1
  const kind = random.next()
  const expire = async (): Promise<(() => Promise<void>)[]> => Promise.all(GROUPS.map(group => world.log.expel(group, victim)))
  if (kind < 0.25) {
    const [member] = world.members.splice(victim, 1)
    await member!.close()
    await join(world)
  } else if (kind < 0.6) {
    world.members[victim]!.process.kill()
    due.push({
      second: second + SESSION_S,
      async run() {
        await expire()
        world.members.splice(victim, 1)
        await join(world)
      }
    })
  } else {
    const [member] = world.members.slice(victim)
    member!.process.stop()
    due.push({
      second: second + SESSION_S,
      async run() {
        const back = await expire()
        world.members.splice(victim, 1)
        due.push({
          second: second + SESSION_S + Math.floor(random.next() * 10),
          async run() {
            member!.process.resume()
            await turns()
            for (const one of back) await one()
            world.members.push(member!)
          }
        })
      }
    })
  }
}

async function run(seed: number | undefined): Promise<World> {
  const clock = virtualClock(T0)
  const world: World = { clock, log: memoryLog({ nowMs: clock.nowMs }), members: [] }
  const random = seededRandom(seed ?? 0)
  const around = surroundings(world)
  const due: Due[] = []
  await join(world)
  await join(world)
  for (let second = 0; second < SECONDS; second++) {
    await around(second)
    if (seed !== undefined && second < QUIET_FROM_S) await disturb(world, second, random, due)
    await clock.advance(1_000)
    await turns()
    for (const one of due.splice(0)) {
      if (one.second > second) due.push(one)
      else await one.run()
    }
  }
  for (const { close } of world.members) await close()
  return world
}

/** What readers know at the end: incidents as they ended, the acts, and who was told to act. */
function found({ log }: World) {
  const incidents = new Map<string, Incident>()
  for (const incident of all<Incident>(log, TOPICS.incidents.name, incidentRecord)) {
    if ((incidents.get(incident.id)?.version ?? -1) <= incident.version) incidents.set(incident.id, incident)
  }
  const acts = all<Decision>(log, TOPICS.decisions.name, decisionRecord).filter(decision => decision.outcome === 'act')
  return {
    incidents: [...incidents.values()]
      .map(({ id, status, resolution, attempts, severity, startedAtMs, healedAtMs, members }) => {
        const entities = members.map(({ entity, closedAtMs }) => ({ entity, closedAtMs }))
        return { id, status, resolution, attempts, severity, startedAtMs, isHealed: healedAtMs !== null, entities }
      })
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
    acts: [...new Map(acts.map(act => [act.commandId, [act.commandId, act.runbook, act.target, act.attempt]])).values()].sort(),
    commands: [
      ...new Map(
        all<Command>(log, commandsTopic('lab'), commandRecord).map(({ id, target, runbook, attempt, steps }) => [
          id,
          { id, target, runbook, attempt, keys: steps.map(step => step.idempotencyKey) }
        ])
      ).values()
    ].sort((a, b) => (a.id < b.id ? -1 : 1))
  }
}

let calm: ReturnType<typeof found>
beforeAll(async () => {
  calm = found(await run(undefined))
})

describe('control instances that take over from each other', () => {
  it('let one of them decide when nothing happens', () => {
    expect(calm.incidents.map(({ resolution }) => resolution).sort()).toEqual(['escalated', 'remediated', 'remediated'])
    expect(calm.commands.length).toBeGreaterThan(4)
  })

  it.each(Array.from({ length: SEEDS }, (_, index) => index + 1))('decide the same as one that nothing happens to, schedule %i', async seed => {
    const world = await run(seed)
    expect(found(world)).toEqual(calm)
    const decisions = all<Decision>(world.log, TOPICS.decisions.name, decisionRecord)
    const said = new Map(decisions.map(decision => [decision.id, JSON.stringify({ ...decision, decidedAtMs: 0, guards: [] })]))
    for (const decision of decisions) expect(JSON.stringify({ ...decision, decidedAtMs: 0, guards: [] }), 'one id says one thing').toBe(said.get(decision.id))
    const audit = await auditOf(world.log, [TOPICS.decisions.name, commandsTopic('lab')])
    expect(audit.findings).toEqual([])
    expect(audit.chains).toMatchObject([{ rows: new Set(decisions.map(({ id }) => id)).size + calm.commands.length, firstSeq: 1 }])
    expect(audit.chains[0]!.anchor).not.toBeNull()
  })
})
