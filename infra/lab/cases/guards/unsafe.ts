// F5: commands that nobody may give, written straight into the commands topic. Each is refused at the actuator, with an outcome that says why.
//
// One good command goes with them, signed with the key that control signs with: it is obeyed once, also when it comes twice.

import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { commandSigner } from '../../../../actuators/execute/signer.ts'
import { loadConfig } from '../../../../pipeline/config/load.ts'
import { openSigningKey } from '../../../../pipeline/roles/keys.ts'
import { openLog } from '../../../../pipeline/roles/log.ts'
import { memoryMeter } from '../../../../pipeline/self/meter.ts'
import { openLogger } from '../../../../pipeline/self/logger.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import { type Command, commandRecord } from '../../../../schemas/command.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { derivedId } from '../../../../schemas/ids.ts'
import { commandsTopic } from '../../../../schemas/topics.ts'
import { judge, that } from '../assertions.ts'
import { readEffects } from '../effects.ts'
import { explains, explanationOf } from '../people.ts'
import { until } from '../rig.ts'
import type { GuardCase } from './stage.ts'
import { entityOf } from './watcher.ts'

const DEADLINE_MS = 15_000
const EXPIRY_MS = 20_000
const TWICE_MS = 2_000 // Time in which the good one could happen again.

type Unsigned = Omit<Command, 'keyId' | 'signature'>

export const unsafeCommands: GuardCase = {
  name: 'F5',
  title: 'commands that are unsigned, altered, foreign, expired, of another environment or outside the allow-list are refused and recorded',
  async play(stage) {
    // One act that control decided: from then on a command that it did not seal is known for one.
    const decidedAtMs = await stage.enterBroken('flap')
    await stage.untilResolved('flap', decidedAtMs)
    const decided = (await stage.stories(['flap'], decidedAtMs)).at(-1)
    await stage.watcher.unwatch('flap') // The restart to come must not look like a fault.
    const { config } = loadConfig(join(stage.folder, 'homeostat.yaml'), stage.folder, process.env)
    const own = commandSigner(openSigningKey(config).privateKeyPem)
    const foreign = commandSigner(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
    const injectedAtMs = Date.now()
    const good = commandFor('good', stage.environment, injectedAtMs)
    const act = { driver: 'process', verb: 'restart', args: {} }
    const bad: readonly [refusedBy: string, command: Command][] = [
      ['signature', { ...own.sign(commandFor('unsigned', stage.environment, injectedAtMs)), signature: '' }],
      ['signature', { ...own.sign(commandFor('altered', stage.environment, injectedAtMs)), target: entityOf('raced') }],
      ['key_id', foreign.sign(commandFor('foreign', stage.environment, injectedAtMs))],
      ['environment', own.sign(commandFor('elsewhere', 'prod', injectedAtMs))],
      ['expiry', own.sign({ ...commandFor('late', stage.environment, injectedAtMs), expiresAtMs: injectedAtMs - 1 })],
      ['allow_list', own.sign({ ...commandFor('outside', stage.environment, injectedAtMs, { ...act, target: 'sshd' }), fence: good.fence + 1 })],
      ['allow_list', own.sign({ ...commandFor('unknown-verb', stage.environment, injectedAtMs, { ...act, verb: 'reboot' }), fence: good.fence + 2 })],
      ['nonce', own.sign({ ...commandFor('replayed', stage.environment, injectedAtMs), nonce: good.nonce, fence: good.fence + 3 })]
    ]
    const log = await openLog(config, { clock: systemClock, logger: openLogger({ level: 'warn', role: 'cli' }), meter: memoryMeter() })
    try {
      const signed = own.sign(good)
      const records = [signed, signed, ...bad.map(([, command]) => command)].map(command => encodeRecord(commandRecord, command))
      await log.append(commandsTopic(stage.environment), records)
    } finally {
      await log.close()
    }
    const sql = `SELECT RefusedBy AS refusedBy, Verdict AS verdict FROM homeostat_outcomes FINAL WHERE Timestamp >= fromUnixTimestamp64Milli(${injectedAtMs})`
    const rows =
      (await until(stage, DEADLINE_MS, async () => {
        const found = await stage.homeostat.sql<{ refusedBy: string; verdict: string }>(sql)
        return found.length > bad.length && found
      })) ?? []
    await until(stage, DEADLINE_MS, () => readEffects(stage.folder, injectedAtMs).length > 0)
    await stage.wait(TWICE_MS)
    const effects = readEffects(stage.folder, injectedAtMs)
    const facts = await stage.over(['flap'], injectedAtMs)
    const explanation = await explanationOf(stage, 'flap', decided)
    const refused = rows.filter(({ verdict }) => verdict === 'refused').map(({ refusedBy }) => refusedBy)
    const wanted = bad.map(([refusedBy]) => refusedBy)
    // One each, and one that counts those of an environment without a chain.
    const unsealed = facts.joined.filter(problem => /in no chain|which has no chain: 1\b/.test(problem))
    const given = 1 + bad.length // The good one is none of control's either.
    const expected = { detectedWithinMs: null, cause: null, targets: ['flap'], effects: 0, verdict: null, pages: 0 } as const
    return [
      // The good one belongs to no incident, so its effect is counted apart.
      judge('F5', stage.seed, expected, { ...facts, effects: [], joined: facts.joined.filter(problem => !unsealed.includes(problem)) }, [
        that(
          'obeyed',
          effects.length === 1 && effects[0]!.key === good.steps[0]!.idempotencyKey,
          `${effects.length} effects of one good command that came twice`
        ),
        that('refused', refused.sort().join() === wanted.sort().join(), `refused by ${refused.join(', ') || 'nothing'}; ${wanted.join(', ')} expected`),
        explains({ explanation }, `restart-flap healed ${entityOf('flap')}`, 'Nothing is left to do'),
        that(
          'explained alone',
          !/refused|may or may not/.test(explanation),
          'the incident that control decided tells of its own act and of none that was forged'
        ),
        that('audited', unsealed.length === given, `${unsealed.length} of ${given} commands that control never sealed are named by the audit`)
      ])
    ]
  }
}

function commandFor(
  name: string,
  environment: string,
  nowMs: number,
  action: Command['steps'][number]['step']['action'] = { driver: 'process', verb: 'restart', args: {} }
): Unsigned {
  const id = derivedId('unsafe', name, nowMs)
  const check = { name: 'running', type: 'state' as const, driver: 'process', expect: 'facts.state == "running"' }
  const step = { name: 'restart', action, timeout: 5_000, settle: 0, verify: { deadline: 1_000, holdFor: 200, checks: [check] } }
  return {
    ...{ id, incidentId: derivedId('incident', id), decisionId: derivedId('decision', id), environment, target: entityOf('flap') },
    ...{ runbook: 'restart-flap', runbookVersion: '1', policy: 'flap', policyVersion: '1', attempt: 1, risk: 'low', cost: 1 },
    steps: [{ idempotencyKey: derivedId('key', id), name: 'restart', step }],
    ...{ incident: {}, cause: {}, startedAtMs: nowMs, issuedAtMs: nowMs, expiresAtMs: nowMs + EXPIRY_MS, fence: nowMs, nonce: derivedId('nonce', id) }
  }
}
