// The kill switch, while three members are restarted over and over: nothing begins a second after the command, console or no console.

import { spawnSupervised } from '../../../../actuators/drivers/supervise.ts'
import { join } from 'node:path'
import type { Control } from '../../../../schemas/control.ts'
import { MAIN } from '../../homeostat.ts'
import { type Assertion, judge, that, withFigures } from '../assertions.ts'
import { readEffects, readWitnessed } from '../effects.ts'
import { answersFirst, explains } from '../people.ts'
import { until } from '../rig.ts'
import type { GuardCase, GuardStage } from './stage.ts'

const WORN = ['worn1', 'worn2', 'worn3'] as const
const KILL_MS_MAX = 1_000
const QUIET_MS = 8_000
/** So many acts show that there is something to stop. */
const ACTS_BEFORE = 4
const ACTS_DEADLINE_MS = 40_000
const OUTCOMES_MS = 8_000
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
    // What is still in flight has no outcome yet: it is let come to its end before it is judged.
    await stage.cli('kill', '--by', 'lab', '--reason', 'the case is over')
    await stage.wait(OUTCOMES_MS)
    const facts = await stage.over(WORN, injectedAtMs)
    await stage.cli('kill', '--off', '--by', 'lab', '--reason', 'the case is over')
    const expected = {
      detectedWithinMs: 5_000,
      cause: WORN,
      targets: WORN,
      effects: [2 * ACTS_BEFORE, 10_000],
      verdict: ['ineffective', 'refused'],
      pages: 0
    } as const
    const report = judge('KILL', stage.seed, expected, facts, [
      answersFirst(facts.explanation, {
        did: 'It has not acted; it looks again by itself.',
        why: 'lab stopped global at',
        change: 'The kill switch global turned off.'
      }),
      explains(facts, 'homeostat kill --off --scope global (it was lab: the case is over)'),
      ...assertionsOf('console up', first),
      ...assertionsOf('console down', second)
    ])
    return [
      withFigures(report, {
        lastBegunMs: first.lastBegunMs,
        lastBegunWithoutConsoleMs: second.lastBegunMs,
        lastMadeMs: Math.max(first.lastMadeMs, second.lastMadeMs),
        effectsBefore: first.before + second.before
      })
    ]
  }
}

interface Drill {
  /** Acts at the witness before the command: members that heard that they must end. */
  before: number
  /** From the command until the last member heard that it must end, which is how a restart begins; 0 when none heard it after the command. */
  lastBegunMs: number
  /** Until the last process was made, by its own account: what had begun goes on. */
  lastMadeMs: number
  begunAfter: number
  /** Once it was released. */
  resumed: number
}

/** Waits for acts, stops them, watches, lets them go on. */
async function drill(stage: GuardStage, scope: string): Promise<Drill> {
  const fromMs = Date.now()
  await until(stage, ACTS_DEADLINE_MS, () => readWitnessed(stage.folder, fromMs).filter(({ what }) => what === 'stop').length >= ACTS_BEFORE)
  const before = readWitnessed(stage.folder, fromMs).filter(({ what }) => what === 'stop').length
  const order = ['kill', '--scope', scope, '--by', 'lab'] as const
  const { atMs } = await stage.cli<Control>(...order, '--reason', 'drill')
  await stage.wait(QUIET_MS)
  const begun = readWitnessed(stage.folder, atMs).filter(({ what }) => what === 'stop')
  const made = readEffects(stage.folder, fromMs).map(({ detail }) => Number(detail) - atMs)
  const { atMs: releasedAtMs } = await stage.cli<Control>(...order, '--off', '--reason', 'drill over')
  const resumed = await until(stage, ACTS_DEADLINE_MS, () => readEffects(stage.folder, releasedAtMs).length || undefined)
  return {
    before,
    lastBegunMs: Math.max(0, ...begun.map(stop => stop.atMs - atMs)),
    lastMadeMs: Math.max(0, ...made),
    begunAfter: begun.length,
    resumed: resumed ?? 0
  }
}

function assertionsOf(name: string, { before, lastBegunMs, lastMadeMs, begunAfter, resumed }: Drill): Assertion[] {
  return [
    that(`${name}: acts`, before >= ACTS_BEFORE, `${before} acts before the command`),
    that(
      `${name}: stop`,
      lastBegunMs <= KILL_MS_MAX,
      `${begunAfter} acts begun after it, the last ${lastBegunMs} ms later and done ${lastMadeMs} ms later, ${QUIET_MS} ms watched`
    ),
    that(`${name}: release`, resumed > 0, `${resumed} effects once it was released`)
  ]
}
