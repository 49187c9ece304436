// The decide and diagnose workers on one log and virtual clock, opened and closed as often as a test likes.

import { generateKeyPairSync } from 'node:crypto'
import { decideWorker } from '../../../../actuators/decide/worker.ts'
import { commandSigner } from '../../../../actuators/execute/signer.ts'
import { diagnoseWorker } from '../../../../detectors/diagnose/worker.ts'
import { type Command, commandRecord } from '../../../../schemas/command.ts'
import { type Decision, decisionRecord } from '../../../../schemas/decision.ts'
import { decodeRecord, encodeRecord, type RecordType } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { type Incident, incidentRecord } from '../../../../schemas/incident.ts'
import { outcomeRecord, type Verdict } from '../../../../schemas/outcome.ts'
import type { Checkpoint, CheckpointStore, Logger, Meter, Page } from '../../../../schemas/ports.ts'
import { commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { memoryLog } from '../../../support/memory-log.ts'
import { seededRandom, virtualClock } from '../../../support/virtual-clock.ts'
import { anOutcome, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const { privateKey } = generateKeyPairSync('ed25519')
export const signer = commandSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
const AUTO = 'autonomy: auto\ncooldown: {initial: 5s, jitter: 0}\nattempts: {max: 2, window: 1h}'
const CONFIG = { commandExpiry: 60_000, policiesDir: undefined, runbooksDir: undefined, signingKeyFile: undefined } as never

function quietLogger(): Logger {
  const logger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger }
  return logger
}

function memoryCheckpoints() {
  const history: [string, Checkpoint][] = []
  const store: CheckpointStore = {
    claim: async () => ({ owner: 'the only one', refused: [] }),
    owns: async () => true,
    async save(name, checkpoint) {
      history.push([name, structuredClone(checkpoint)])
    },
    load: async name => history.findLast(([saved]) => saved === name)?.[1]
  }
  return {
    ...store,
    saves: () => history.length,
    /** Forgets all but the first `count` saves. */
    rewind: (count: number) => void history.splice(count)
  }
}

/** A log with both workers; `open` starts them anew on the same log and checkpoints. */
export function rig(spec = AUTO) {
  const clock = virtualClock(T0)
  const log = memoryLog({ nowMs: clock.nowMs })
  const checkpoints = memoryCheckpoints()
  const pages: Page[] = []
  const counts = new Map<string, number>()
  let pagesFail = false
  const meter: Meter = { count: (name, value = 1) => void counts.set(name, (counts.get(name) ?? 0) + value), gauge() {} }
  const ports = { log, checkpoints, clock, meter, logger: quietLogger() }
  let seed = 1
  async function open(policies = policySet(policyYaml(spec), runbookYaml())) {
    const diagnose = diagnoseWorker({ ...ports, config: { groupWindow: 60_000, resolveAfter: 20_000 } })
    const decide = decideWorker({
      ...ports,
      config: CONFIG,
      policies,
      environments: ['lab'],
      sign: signer.sign,
      signAnchor: signer.signAnchor,
      escalations: {
        default: {
          async notify(page) {
            if (pagesFail) throw new AppError('escalation_failed', 'the webhook is down')
            pages.push(page)
          }
        }
      },
      random: seededRandom(seed++)
    })
    await diagnose.start()
    await decide.start()
    return {
      decide,
      diagnose,
      async close() {
        await diagnose.close()
        await decide.close()
      }
    }
  }
  const all = <T>(topic: string, type: RecordType<T>): T[] =>
    log.records(topic).flatMap(record => {
      const decoded = decodeRecord(type, record)
      return decoded.ok ? [decoded.record] : []
    })
  async function settle(ms = 0) {
    await log.drained()
    await clock.advance(ms)
    await log.drained()
  }
  return {
    ...ports,
    checkpoints,
    pages,
    counts,
    open,
    settle,
    incidents: () => all<Incident>(TOPICS.incidents.name, incidentRecord),
    decisions: () => all<Decision>(TOPICS.decisions.name, decisionRecord),
    commands: () => all<Command>(commandsTopic('lab'), commandRecord),
    failPages: (on: boolean) => {
      pagesFail = on
    },
    put: async <T>(topic: string, type: RecordType<T>, ...records: T[]) =>
      void (await log.append(
        topic,
        records.map(record => encodeRecord(type, record))
      )),
    async answer(verdict: Verdict) {
      const decision = all<Decision>(TOPICS.decisions.name, decisionRecord).findLast(one => one.commandId !== null)!
      await log.append(TOPICS.outcomes.name, [
        encodeRecord(
          outcomeRecord,
          anOutcome(decision, verdict, { recordedAtMs: clock.nowMs(), healedAtMs: verdict === 'healed' ? clock.nowMs() - 1_000 : null })
        )
      ])
    }
  }
}
