// The kill switch, while three members are restarted over and over: nothing begins a second after the command, console or no console.

import { spawnSupervised } from '../../../../actuators/drivers/supervise.ts'
import { join } from 'node:path'
import type { Control } from '../../../../schemas/control.ts'
import { MAIN } from '../../homeostat.ts'
import { type Assertion, judge } from '../assertions.ts'
import { readEffects } from '../effects.ts'
import { until } from '../rig.ts'
import { type GuardCase, type GuardStage, that, withFigures } from './stage.ts'

const WORN = ['worn1', 'worn2', 'worn3'] as const
const KILL_MS_MAX = 1_000
const QUIET_MS = 8_000
/** So many acts show that there is something to stop. */
const ACTS_BEFORE = 4
const ACTS_DEADLINE_MS = 40_000
const ROLES_WITHOUT_CONSOLE = 'intake,detect,control,act,store'

export const killSwitch: GuardCase = {
  name: 'KILL',
  title: 'the kill switch ends all acts within a second, with and without a console',
  async play(stage) {
    await stage.enter(WORN)
    const injectedAtMs = Date.now()
    for (const member of WORN) await stage.fault(member, 'a', true, true)
    const first = await drill(stage, 'global')
    stage.say('now without the console')
    await stage.homeostat.kill()
    const argv = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, 'start', '--role', ROLES_WITHOUT_CONSOLE]
    const definition = { argv: [...argv, '--config', join(stage.folder, 'homeostat.yaml')], env: {}, passEnv: [], grace: 0, limits: {} }
    await spawnSupervised({
      runDir: join(stage.folder, 'lab'),
      name: 'homeostat-without-console',
      definition: { ...definition, logFile: join(stage.folder, 'homeostat.log') }
    })
    const second = await drill(stage, `environment/${stage.environment}`)
    await stage.homeostat.kill()
    await stage.homeostat.start()
    const facts = await stage.facts(WORN, injectedAtMs)
    await stage.leave(WORN)
    const expected = {
      detectedWithinMs: 5_000,
      cause: WORN,
      targets: WORN,
      effects: [2 * ACTS_BEFORE, 10_000],
      verdict: ['ineffective', 'refused'],
      pages: 0
    } as const
    const report = judge('KILL', stage.seed, expected, facts, [...assertionsOf('console up', first), ...assertionsOf('console down', second)])
    return [
      withFigures(report, { lastEffectMs: first.lastEffectMs, lastEffectWithoutConsoleMs: second.lastEffectMs, effectsBefore: first.before + second.before })
    ]
  }
}

interface Drill {
  before: number
  /** From the command to the moment at which the last process was made, by that process's own account; 0 when none was made after it. */
  lastEffectMs: number
  after: number
  /** Once it was released. */
  resumed: number
}

/** Waits for acts, stops them, watches, lets them go on. */
async function drill(stage: GuardStage, scope: string): Promise<Drill> {
  const fromMs = Date.now()
  await until(stage, ACTS_DEADLINE_MS, () => readEffects(stage.folder, fromMs).length >= ACTS_BEFORE)
  const before = readEffects(stage.folder, fromMs).length
  const order = ['kill', '--scope', scope, '--by', 'lab'] as const
  const { atMs } = await stage.cli<Control>(...order, '--reason', 'drill')
  await stage.wait(QUIET_MS)
  const after = readEffects(stage.folder, fromMs).filter(({ detail }) => Number(detail) > atMs)
  const { atMs: releasedAtMs } = await stage.cli<Control>(...order, '--off', '--reason', 'drill over')
  const resumed = await until(stage, ACTS_DEADLINE_MS, () => readEffects(stage.folder, releasedAtMs).length || undefined)
  return { before, lastEffectMs: Math.max(0, ...after.map(({ detail }) => Number(detail) - atMs)), after: after.length, resumed: resumed ?? 0 }
}

function assertionsOf(name: string, { before, lastEffectMs, after, resumed }: Drill): Assertion[] {
  return [
    that(`${name}: acts`, before >= ACTS_BEFORE, `${before} effects before the command`),
    that(`${name}: stop`, lastEffectMs <= KILL_MS_MAX, `${after} effects after it, the last ${lastEffectMs} ms later, ${QUIET_MS} ms watched`),
    that(`${name}: release`, resumed > 0, `${resumed} effects once it was released`)
  ]
}
